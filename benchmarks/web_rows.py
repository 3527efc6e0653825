"""The web tier with keys, limits and usage on, before the fake engine; LiteLLM before a mock.

Both sides answer the same requests to the same client on the same machine, one after the other.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.load import Reply, Target, fire, gaps, quantile
from benchmarks.peers import python_of
from benchmarks.rows import Row
from engine.messages import QueueBody
from engine.sampling_params import SamplingParams
from engine.testing import FakeCore, FakeSpeed
from tests.served import ROOT, Served, free_port, serving, wait_for

HERE = Path(__file__).parent
TOKENS, CHUNKS, STREAMS, GAP_S = 32, 128, 200, 0.02
LIMITS = ["--rpm", "100000000", "--tpm", "100000000000", "--parallel", "100000"]
CONTROL = "LiteLLM proxy 1.106.2"


def body(model: str, *, stream: bool) -> dict[str, Any]:
    talk = [{"role": "user", "content": "hello there, how are you today?"}]
    tokens = CHUNKS if stream else TOKENS
    return {"model": model, "messages": talk, "stream": stream, "max_tokens": tokens}


def printable_model(folder: Path) -> Path:
    """A checkpoint whose every token is text of its own: each token makes an event."""
    model = folder / "printable"
    if not (model / "config.json").exists():
        make = [sys.executable, "-m", "inference_site.launcher.random_model", str(model)]
        subprocess.run(make, check=True, cwd=ROOT)
    return model


@contextmanager
def pagoda(folder: Path, *, step_s: float, tokens_per_step: int) -> Iterator[Target]:
    """`serve` with the stub behind it and a key that has every limit set, none in reach."""
    flags = f"--step-delay-s={step_s} --tokens-per-step={tokens_per_step} --max-num-seqs=512"
    env = {
        "PAGODA_ENGINE_COMMAND": "benchmarks.stub",
        "STUB_FLAGS": flags,
        "PYTHONPATH": str(ROOT),
        "PAGODA_LOG_LEVEL": "WARNING",
    }
    with (
        tempfile.TemporaryDirectory(dir=folder) as home,
        serving(Path(home) / "home", str(printable_model(folder)), env=env) as served,
    ):
        model = served.get("/v1/models")["data"][0]["id"]
        yield Target(port=served.port, key=limited_key(served), body=body(model, stream=False))


def limited_key(served: Served) -> str:
    command = [sys.executable, str(ROOT / "manage.py"), "keys", "create", "bench", *LIMITS]
    env = os.environ | {"PAGODA_HOME": str(served.home), "PAGODA_PORT": str(served.port)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return next(word for word in done.stdout.split() if word.startswith("pgd_"))


@contextmanager
def litellm(folder: Path, *, gap_ms: int) -> Iterator[Target]:
    """LiteLLM's proxy with one worker, no database and no Redis: its fastest set-up."""
    python = python_of("litellm", folder)
    port, upstream = free_port(), free_port()
    env = os.environ | {
        "GAP_MS": str(gap_ms),
        "CHUNKS": str(CHUNKS),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
    }
    config = folder / "litellm.json"
    model = {"model": "openai/stub", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "x"}
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "stub", "litellm_params": model}],
                "general_settings": {"master_key": "sk-peer"},
                "litellm_settings": {"num_retries": 0, "telemetry": False},
            }
        )
    )
    mock = [python.with_name("granian"), "--interface", "asgi", "--loop", "uvloop", "--no-ws"]
    mock += ["--host", "127.0.0.1", "--port", str(upstream), "mock_openai:app"]
    proxy = [python.with_name("litellm"), "--config", str(config), "--host", "127.0.0.1"]
    proxy += ["--port", str(port), "--num_workers", "1"]
    with (folder / "litellm.log").open("ab") as log:
        both = [
            subprocess.Popen(c, env=env, cwd=HERE / "peers", stdout=log, stderr=log)
            for c in (mock, proxy)
        ]
        try:
            wait_for(lambda: alive(port, "/health/liveliness"), within_s=120, what="LiteLLM")
            yield Target(port=port, key="sk-peer", body=body("stub", stream=False))
        finally:
            for process in both:
                process.terminate()
                process.wait()


def alive(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def streamed(target: Target) -> Target:
    return Target(
        port=target.port,
        key=target.key,
        body=body(target.body["model"], stream=True),
    )


def run(target: Target, connections: int, **how: Any) -> tuple[list[Reply], float]:
    return uvloop.run(fire(target, connections, **how))


def requests_per_s(target: Target, repeat: int) -> float:
    run(target, 8, seconds=1.0)
    return statistics.median(
        len(replies) / wall
        for replies, wall in (run(target, 64, seconds=4.0) for _ in range(repeat))
    )


def chunks_per_s(target: Target, repeat: int) -> float:
    run(streamed(target), 4, per=1)
    rates = []
    for _ in range(repeat):
        replies, wall = run(streamed(target), 16, per=2)
        rates.append(sum(count for reply in replies for _, count in reply.events) / wall)
    return statistics.median(rates)


def paced(target: Target) -> dict[str, float]:
    run(streamed(target), 4, per=1)
    replies, _ = run(streamed(target), STREAMS, per=1)
    events = [sum(count for _, count in reply.events) for reply in replies]
    between = gaps(replies)
    return {
        "gap_p99_ms": 1000 * quantile(between, 0.99),
        "gap_p50_ms": 1000 * quantile(between, 0.5),
        "gap_p99_ms_after_1s": 1000 * quantile(gaps(replies, after_s=1.0), 0.99),
        "fewest_events": min(events),
        "ttfb_p50_ms": 1000 * quantile([reply.events[0][0] for reply in replies], 0.5),
    }


def in_process_ms() -> float:
    """Submit to first token of the fake core itself."""
    times = []
    for i in range(200):
        core = FakeCore(FakeSpeed())
        params = SamplingParams(max_tokens=8)
        made = QueueBody(
            rid=str(i),
            attempt=1,
            web="w",
            model="m",
            prompts=[[1, 2]],
            params=params,
            deadline_ms=0,
        )
        began = time.perf_counter()
        core.submit(made)
        core.step()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def first_chunk_ms(target: Target) -> float:
    run(streamed(target), 1, per=20)
    replies, _ = run(streamed(target), 1, per=100)
    return 1000 * quantile([reply.events[0][0] for reply in replies], 0.5)


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    with pagoda(folder, step_s=0, tokens_per_step=TOKENS) as target:
        ours_requests = requests_per_s(target, repeat)
    with pagoda(folder, step_s=0, tokens_per_step=1) as target:
        ours_chunks = chunks_per_s(target, repeat)
        first = first_chunk_ms(target) - in_process_ms()
    with pagoda(folder, step_s=GAP_S, tokens_per_step=1) as target:
        ours_paced = paced(target)
    with litellm(folder, gap_ms=0) as target:
        their_requests = requests_per_s(target, repeat)
        their_chunks = chunks_per_s(target, repeat)
    with litellm(folder, gap_ms=int(GAP_S * 1000)) as target:
        their_paced = paced(target)
    yield Row(
        row="web-requests",
        unit="requests/s at 64 connections, one web process",
        ours=ours_requests,
        control=CONTROL,
        control_value=their_requests,
        goal=4.0,
    )
    yield Row(
        row="web-chunks",
        unit="unpaced chunks/s, 16 connections",
        ours=ours_chunks,
        control=CONTROL,
        control_value=their_chunks,
        goal=5.0,
    )
    yield Row(
        row="web-paced",
        unit=f"ms, p99 of gaps, {STREAMS} streams with a token each {int(GAP_S * 1000)} ms",
        ours=ours_paced["gap_p99_ms"],
        goal=40.0,
        at_most=True,
        detail={"ours": ours_paced, CONTROL: their_paced},
    )
    yield Row(
        row="web-first-chunk",
        unit="ms, p50 of first chunk over HTTP minus the same in process",
        ours=first,
        goal=5.0,
        at_most=True,
    )
