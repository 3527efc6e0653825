"""`pagoda bench serve`: streamed requests to a running server at a rate; latencies and tokens."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from tqdm import tqdm

from inference_site.commands import CommandFailed
from inference_site.commands.endpoint import Endpoint, add_arguments, endpoint_of, first_model

PATHS = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}
TEXT = "the river runs under an old stone bridge while birds circle above quiet fields"


@dataclass(slots=True)
class Stream:
    """What one request saw. Times in seconds since it was sent."""

    events: list[float] = field(default_factory=list)
    seconds: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""


def bench_serve(argv: Sequence[str]) -> int:
    """Exit status 1 when a request failed."""
    given = _parser().parse_args(argv)
    endpoint = endpoint_of(given)
    with endpoint.client() as client:
        model = given.model or first_model(client)
    streams, seconds = asyncio.run(_run(endpoint, model, given))
    figures = summary(streams, seconds)
    sys.stdout.write(json.dumps({"bench": "serve", "model": model, **figures}) + "\n")
    return 1 if figures["failed"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pagoda bench serve", description="Measure a running server.", allow_abbrev=False
    )
    add_arguments(parser)
    parser.add_argument("--model", help="default: the first the server lists")
    parser.add_argument("--api", choices=PATHS, default="completions")
    parser.add_argument("--num-prompts", type=int, default=100)
    parser.add_argument("--input-len", type=int, default=32, help="words of each prompt")
    parser.add_argument("--output-len", type=int, default=64, help="tokens of each answer")
    words = "requests a second, at random distances; default: all at once"
    parser.add_argument("--request-rate", type=float, default=float("inf"), help=words)
    parser.add_argument("--max-concurrency", type=int, default=256, help="open requests")
    parser.add_argument("--seed", type=int, default=0)
    return parser


async def _run(
    endpoint: Endpoint, model: str, given: argparse.Namespace
) -> tuple[list[Stream], float]:
    draw = random.Random(given.seed)
    room = asyncio.Semaphore(given.max_concurrency)
    began = time.perf_counter()
    with tqdm(total=given.num_prompts, desc="Requests", unit="request") as progress:

        async def one(client: httpx.AsyncClient, body: dict[str, Any]) -> Stream:
            async with room:
                stream = await _ask(client, PATHS[given.api], body)
            progress.update()
            return stream

        async with endpoint.async_client(given.max_concurrency) as client:
            tasks = []
            for _ in range(given.num_prompts):
                tasks.append(asyncio.create_task(one(client, _body(given, model, draw))))
                if given.request_rate != float("inf"):
                    await asyncio.sleep(draw.expovariate(given.request_rate))
            streams = await asyncio.gather(*tasks)
    return streams, time.perf_counter() - began


def _body(given: argparse.Namespace, model: str, draw: random.Random) -> dict[str, Any]:
    text = " ".join(draw.choices(TEXT.split(), k=given.input_len))
    prompt: dict[str, Any] = {"prompt": text}
    if given.api == "chat":
        prompt = {"messages": [{"role": "user", "content": text}]}
    return prompt | {
        "model": model,
        "max_tokens": given.output_len,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _ask(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Stream:
    stream, began = Stream(), time.perf_counter()
    try:
        async with client.stream("POST", path, json=body) as reply:
            if reply.is_error:
                stream.error = f"{reply.status_code} {(await reply.aread())[:200]!r}"
                return stream
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    _take(stream, json.loads(line[6:]), time.perf_counter() - began)
    except httpx.TransportError as error:
        stream.error = type(error).__name__
    stream.seconds = time.perf_counter() - began
    return stream


def _take(stream: Stream, chunk: dict[str, Any], at: float) -> None:
    if "error" in chunk:
        stream.error = chunk["error"]["message"]
    elif chunk["choices"]:
        choice = chunk["choices"][0]
        if choice.get("text") or choice.get("delta", {}).get("content"):
            stream.events.append(at)
    if usage := chunk.get("usage"):
        stream.prompt_tokens = usage["prompt_tokens"]
        stream.output_tokens = usage["completion_tokens"]


def summary(streams: Sequence[Stream], seconds: float) -> dict[str, Any]:
    """Figures over the requests that succeeded. Raises `CommandFailed` when none did."""
    good = [stream for stream in streams if not stream.error and stream.events]
    if not good:
        raise CommandFailed(f"No request succeeded: {streams[0].error or 'no text came'}")
    made = sum(stream.output_tokens for stream in good)
    gaps = [b - a for s in good for a, b in zip(s.events, s.events[1:], strict=False)]
    each = [
        (s.events[-1] - s.events[0]) / (s.output_tokens - 1) for s in good if s.output_tokens > 1
    ]
    return {
        "requests": len(good),
        "failed": len(streams) - len(good),
        "seconds": round(seconds, 3),
        "requests_per_s": round(len(good) / seconds, 3),
        "output_tokens_per_s": round(made / seconds, 1),
        "prompt_tokens": sum(stream.prompt_tokens for stream in good),
        "output_tokens": made,
        "ttft_ms": quantiles([stream.events[0] for stream in good]),
        "time_per_output_token_ms": quantiles(each),
        "inter_chunk_ms": quantiles(gaps),
        "latency_ms": quantiles([stream.seconds for stream in good]),
    }


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds; empty without values."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    at = {q: ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))] for q in (50, 95, 99)}
    return {f"p{q}": round(1000 * value, 3) for q, value in at.items()}
