"""Engine daemons as processes: heartbeat, failed start, drain, idleness."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from apps.usage.judge import Judge
from engine import redis_keys
from engine.errors import EngineLost
from engine.messages import (
    AdapterSource,
    AdapterState,
    Control,
    ControlKind,
    EngineBeat,
    EngineState,
    Finish,
    UsageEvent,
    pack,
    unpack,
)
from tests.integration.transport.conftest import admission
from tests.integration.transport.waiting import soon, until
from tests.served import LIMIT_S

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(redis_url: str) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def launch(*flags: str, name: str = "e") -> subprocess.Popen[str]:
        own = [f"--engine-id={name}", "--model-name=m", f"--redis={redis_url}"]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "engine.testing", *own, *flags],
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


def heartbeat(r, name: str = "e") -> EngineBeat | None:
    packed = r.get(redis_keys.engine_beat(name))
    return unpack(EngineBeat, packed) if packed else None


def in_state(r, state: EngineState, name: str = "e") -> Callable[[], bool]:
    return lambda: (beat := heartbeat(r, name)) is not None and beat.state is state


def test_loading_shows_in_the_heartbeat_before_ready(r, start):
    start("--load-s=1")
    until(in_state(r, EngineState.LOADING), what="loading")
    beat = until(lambda: (b := heartbeat(r)) and b.phase and b, what="progress")
    assert (beat.phase, beat.total_bytes) == ("weights", 1)
    until(in_state(r, EngineState.READY), what="ready")
    assert heartbeat(r).max_model_len > 0
    assert 0 < r.pttl(redis_keys.engine_beat("e")) <= 3000


def test_adapters_come_and_go_by_control_message_and_show_in_the_heartbeat(r, start):
    start()
    until(in_state(r, EngineState.READY), what="ready")
    sources = [
        AdapterSource(digest="d1", name="pirate", path=str(ROOT / "demo" / "adapters" / "pirate")),
        AdapterSource(digest="d2", name="absent", path="/nowhere"),
    ]

    def send(kind: ControlKind, source: AdapterSource) -> None:
        r.xadd(redis_keys.control("e"), {"m": pack(Control(kind=kind, adapter=source))})

    def states() -> dict[str, AdapterState]:
        return {beat.digest: beat.state for beat in heartbeat(r).adapters}

    for source in sources:
        send(ControlKind.LOAD_ADAPTER, source)
    told = {"d1": AdapterState.READY, "d2": AdapterState.FAILED}
    until(lambda: states() == told, what="one adapter ready, one failed")
    assert "adapter_config.json" in heartbeat(r).adapters[1].cause
    for source in sources:
        send(ControlKind.UNLOAD_ADAPTER, source)
    until(lambda: states() == {}, what="no adapter")


@pytest.mark.parametrize(
    ("flags", "cause"),
    [(("--max-num-seqs=0",), "max_num_seqs=0"), (("--max-model-len=many",), "--max-model-len")],
)
def test_a_bad_option_ends_the_process_with_cause_and_fix(r, start, flags, cause):
    process = start(*flags)
    beat = until(
        lambda: (b := heartbeat(r)) and b.state is EngineState.FAILED and b, what="failure"
    )
    assert process.wait(LIMIT_S) == 1
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
        await soon(lambda: process.poll() is not None, what="exit")
    assert r.hlen(redis_keys.OPEN) == 0
    assert r.xlen(redis_keys.USAGE) == 1


def test_sigterm_while_loading_ends_the_process(r, start):
    process = start("--load-s=60")
    until(in_state(r, EngineState.LOADING), what="loading")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 128 + signal.SIGTERM


async def test_a_stopped_engine_is_judged_and_what_it_says_later_is_not_heard(
    redis_url, r, start, client_of
):
    stopped = start("--step-delay-s=0.02")
    await soon(in_state(r, EngineState.READY), what="ready")
    client = await client_of()
    with judging(redis_url):
        async with (
            client.submit(admission(tokens=300)) as shown,
            client.submit(admission(tokens=300)) as unseen,
        ):
            await asyncio.gather(shown.started(), unseen.started())
            await anext(aiter(shown))
            stopped.send_signal(signal.SIGSTOP)
            start("--tokens-per-step=10", name="heir")
            with pytest.raises(EngineLost):
                async with asyncio.timeout(LIMIT_S):
                    [_ async for _ in shown]
            await soon(lambda: unseen.engine == "heir", what="the heir's start")
            stopped.send_signal(signal.SIGCONT)  # it goes on with both; nobody may notice
            deltas = await asyncio.wait_for(unseen.whole(), LIMIT_S)
    assert [len(c.token_ids) for delta in deltas for c in delta.choices] == [10] * 30
    assert (unseen.attempt, unseen.engine) == (2, "heir")
    await soon(lambda: r.xlen(redis_keys.USAGE) == 2, what="usage")
    stopped.send_signal(signal.SIGTERM)
    await soon(lambda: stopped.poll() is not None, what="exit")
    events = {
        e.rid: e for e in (unpack(UsageEvent, f[b"e"]) for _, f in r.xrange(redis_keys.USAGE))
    }
    assert events[shown.rid].finish is Finish.LOST
    assert (events[unseen.rid].attempts, events[unseen.rid].engine) == (2, "heir")
    assert r.xlen(redis_keys.USAGE) == 2
    assert r.hlen(redis_keys.OPEN) == 0


@contextmanager
def judging(redis_url: str) -> Iterator[None]:
    """The settle process' judge, in a thread."""
    judge = Judge(redis_url)
    thread = threading.Thread(target=judge.run)
    thread.start()
    try:
        yield
    finally:
        judge.stop()
        thread.join()


def test_an_idle_engine_uses_less_than_two_percent_of_a_core(r, start):
    process = psutil.Process(start().pid)
    until(in_state(r, EngineState.READY), what="ready")
    time.sleep(0.5)
    before, at = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(2.5)
    used = sum(process.cpu_times()[:2]) - before
    assert used / (time.monotonic() - at) < 0.02
