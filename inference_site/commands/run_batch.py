"""`pagoda run-batch -i requests.jsonl -o answers.jsonl --model M`: a file of requests, answered.

The requests go through a `serve` of its own (or the server of --url), so every route, field and
error is the same as online.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from inference_site.commands import CommandFailed
from inference_site.commands.batch_file import (
    BUSY,
    UNREADABLE,
    BatchOutput,
    BatchRequest,
    answer_line,
    error_line,
    is_final,
    requests_of,
)
from inference_site.commands.endpoint import Endpoint, endpoint_of
from inference_site.commands.own_server import own_server

MOST_TRIES, LONGEST_WAIT_S = 100, 30.0


def run_batch(argv: Sequence[str]) -> int:
    """Exit status 0 when every line has an answer or an error of its own, 1 when some are to be
    sent again."""
    given, flags = _parser().parse_known_args(argv)
    if given.url and (flags or given.model):
        raise CommandFailed(f"--url names a server that runs: {flags or ['--model']} is too much.")
    requests = list(requests_of(given.input_file))
    output = BatchOutput(given.output_file)
    try:
        left = [request for request in requests if request.mark not in output.done]
        if len(left) < len(requests):
            sys.stderr.write(f"{len(requests) - len(left)} of {len(requests)} are done already.\n")
        if left:
            words = [given.model] if given.model else []
            with _server(given, [*words, *flags]) as endpoint:
                missed = asyncio.run(_answer_all(endpoint, left, output, given.concurrency))
            if missed:
                raise CommandFailed(
                    f"{missed} requests found the server too busy or got no answer that can be "
                    "read. Run the same command again to send them again."
                )
    finally:
        output.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pagoda run-batch",
        description="Answer a file of requests (JSON lines in OpenAI's batch shape). A batch that "
        "was cut off goes on where it stopped. Flags not listed here are those of serve.",
        allow_abbrev=False,
    )
    parser.add_argument("-i", "--input-file", type=Path, required=True, help="requests, one a line")
    parser.add_argument("-o", "--output-file", type=Path, required=True, help="answers, appended")
    parser.add_argument("--model", help="folder or hub id; default: the demo")
    parser.add_argument("--url", help="use this running server instead of one of our own")
    parser.add_argument("--api-key", help="key for --url; default: as for chat")
    parser.add_argument("--concurrency", type=int, default=256, help="open requests (default 256)")
    return parser


@contextlib.contextmanager
def _server(given: argparse.Namespace, flags: Sequence[str]) -> Iterator[Endpoint]:
    if given.url:
        yield endpoint_of(given)
        return
    with own_server(flags) as endpoint:
        yield endpoint


async def _answer_all(
    endpoint: Endpoint, requests: Sequence[BatchRequest], output: BatchOutput, concurrency: int
) -> int:
    """`concurrency` workers take lines in order; answers are written as they come. Returns how
    many lines are not final."""
    waiting = iter(requests)
    missed = 0
    with tqdm(total=len(requests), desc="Requests", unit="request") as progress:

        async def worker(client: httpx.AsyncClient) -> None:
            nonlocal missed
            for request in waiting:
                if request.wrong:
                    line = error_line(request, "invalid_request", request.wrong)
                else:
                    line = _line(request, await _ask(client, request))
                output.write(line)
                missed += not is_final(line)
                progress.update()

        async with endpoint.async_client(concurrency) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(max(1, min(concurrency, len(requests)))):
                        group.create_task(worker(client))
            except* httpx.TransportError as errors:
                kind = type(errors.exceptions[0]).__name__
                raise CommandFailed(
                    f"The server went away ({kind}). Run the same command again to go on."
                ) from None
    return missed


def _line(request: BatchRequest, reply: httpx.Response) -> dict[str, Any]:
    status, rid = reply.status_code, reply.headers.get("x-request-id", "")
    try:
        return answer_line(request, status=status, request_id=rid, body=reply.json())
    except ValueError:  # of a proxy, say
        words = f"The server answered {status} with something that is no JSON."
        return error_line(request, UNREADABLE, words)


async def _ask(client: httpx.AsyncClient, request: BatchRequest) -> httpx.Response:
    """One answer; a busy server is asked again when it says so."""
    for _ in range(MOST_TRIES):
        reply = await client.post(request.url, json=request.body)
        if reply.status_code not in BUSY or "retry-after" not in reply.headers:
            break
        await asyncio.sleep(_wait_s(reply.headers["retry-after"]))
    return reply


def _wait_s(retry_after: str) -> float:
    """The header's seconds within reason; a proxy may have written a date."""
    try:
        return min(LONGEST_WAIT_S, float(retry_after))
    except ValueError:
        return LONGEST_WAIT_S
