"""Engine daemons as processes: heartbeat, failed start, drain, idleness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine import redis_keys
from engine.messages import EngineBeat, EngineState, unpack
from tests.integration.transport.conftest import admission
from tests.integration.transport.waiting import soon, until

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(redis_url: str) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def launch(*flags: str, module: str = "engine.testing") -> subprocess.Popen[str]:
        own = ["--engine-id=e", "--model-name=m", f"--redis={redis_url}"]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *own, *flags],
                cwd=ROOT,
                text=True,
                stderr=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        )
        return processes[-1]

    yield launch
    for process in processes:
        process.kill()
        process.communicate()


def heartbeat(r) -> EngineBeat | None:
    packed = r.get(redis_keys.engine_beat("e"))
    return unpack(EngineBeat, packed) if packed else None


def in_state(r, state: EngineState) -> Callable[[], bool]:
    return lambda: (beat := heartbeat(r)) is not None and beat.state is state


def test_loading_shows_in_the_heartbeat_before_ready(r, start):
    start("--load-s=1")
    until(in_state(r, EngineState.LOADING), what="loading")
    beat = until(lambda: (b := heartbeat(r)) and b.phase and b, what="progress")
    assert (beat.phase, beat.total_bytes) == ("weights", 1)
    until(in_state(r, EngineState.READY), what="ready")
    assert heartbeat(r).max_model_len > 0
    assert 0 < r.pttl(redis_keys.engine_beat("e")) <= 3000


@pytest.mark.parametrize(
    ("flags", "cause"),
    [(("--max-num-seqs=0",), "max_num_seqs=0"), (("--max-model-len=many",), "--max-model-len")],
)
def test_a_bad_option_ends_the_process_with_cause_and_fix(r, start, flags, cause):
    process = start(*flags)
    assert process.wait(15) == 1
    beat = heartbeat(r)
    assert beat.state is EngineState.FAILED
    assert cause in beat.cause
    assert beat.fix
    assert cause in process.stderr.read()


async def test_sigterm_finishes_what_runs_and_takes_nothing_new(r, start, client_of):
    process = start("--step-delay-s=0.01")
    await soon(in_state(r, EngineState.READY), what="ready")
    client = await client_of(queue_wait_s=0.5)
    async with client.submit(admission(tokens=100)) as stream:
        await stream.started()
        process.send_signal(signal.SIGTERM)
        deltas = await stream.whole()
    assert sum(len(c.token_ids) for delta in deltas for c in delta.choices) == 100
    await soon(lambda: process.poll() is not None, what="exit")
    assert process.returncode == 0
    assert heartbeat(r) is None


async def test_a_second_sigterm_aborts_what_runs(r, start, client_of):
    process = start("--step-delay-s=0.01")
    await soon(in_state(r, EngineState.READY), what="ready")
    client = await client_of()
    async with client.submit(admission(tokens=30_000)) as stream:
        await stream.started()
        process.send_signal(signal.SIGTERM)
        await soon(in_state(r, EngineState.DRAINING), what="drain")
        process.send_signal(signal.SIGTERM)
        await soon(lambda: process.poll() is not None, within_s=5, what="exit")
    assert r.hlen(redis_keys.OPEN) == 0
    assert r.xlen(redis_keys.USAGE) == 1


def test_an_idle_engine_uses_less_than_two_percent_of_a_core(r, start):
    process = psutil.Process(start().pid)
    until(in_state(r, EngineState.READY), what="ready")
    time.sleep(0.5)
    before, at = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(2.5)
    used = sum(process.cpu_times()[:2]) - before
    assert used / (time.monotonic() - at) < 0.02
