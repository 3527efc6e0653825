"""`python -m tests.chaos.failover --repeats n`: an engine dies; who notices, and how soon.

Two engines and one web process under requests of both sorts, one engine killed: what had not begun
to stream must succeed, what had must end by an error event. Then a whole `serve` whose only engine
is killed or stopped: how long until `/health` says so. The times mean something on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from tests import evidence
from tests.chaos import books
from tests.chaos.fleet import MODEL, Fleet, running
from tests.served import Served, serving, wait_for

CREW = ("engine0", "engine1", "web0", "settler0", "redis")
OF_EACH = 32  # requests of either sort at a time
TOKENS = 1200  # some seconds of the fake engine
POLL_S = 0.01
MODES = {
    "kill -9 beside its agent": 1.5,
    "kill -9 and no agent": 4.5,
    "SIGSTOP": 12.0,
}


@dataclass(slots=True)
class Outcome:
    """Of one death: whole answers by status, ends of streams, and the latest error."""

    whole: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    begun: int = 0
    killed_at: float = 0.0
    latest_s: float = 0.0


async def one_death(fleet: Fleet, rng: random.Random) -> Outcome:
    """Both sorts run on both engines, then one engine is killed."""
    seen = Outcome()
    headers = {"Authorization": f"Bearer {fleet.key}"}
    timeout = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(fleet.url, headers=headers, timeout=timeout) as session:
        tasks = [asyncio.create_task(_whole(session, seen)) for _ in range(OF_EACH)]
        tasks += [asyncio.create_task(_stream(session, seen)) for _ in range(OF_EACH)]
        async with asyncio.timeout(60):
            while seen.begun < OF_EACH:
                await asyncio.sleep(POLL_S)
        seen.killed_at = time.monotonic()
        fleet.kill(f"engine{rng.randrange(2)}")
        await asyncio.gather(*tasks)
    return seen


async def _whole(session: aiohttp.ClientSession, seen: Outcome) -> None:
    async with session.post("/v1/completions", json=_body(stream=False)) as reply:
        await reply.read()
        seen.whole[reply.status] += 1


async def _stream(session: aiohttp.ClientSession, seen: Outcome) -> None:
    end = "silent"
    async with session.post("/v1/completions", json=_body(stream=True)) as reply:
        begun = False
        async for line in reply.content:
            if not line.startswith(b"data: "):
                continue
            seen.begun += not begun
            begun = True
            if line.startswith(b"data: [DONE]"):
                end = "whole"
            elif "error" in json.loads(line[6:]):
                end = "error"
                seen.latest_s = max(seen.latest_s, time.monotonic() - seen.killed_at)
    seen.ends[end] += 1


def _body(*, stream: bool) -> dict[str, object]:
    return {"model": MODEL, "prompt": "a", "max_tokens": TOKENS, "stream": stream}


def two_engines(repeats: int, seed: int) -> tuple[dict[str, int], dict[str, float]]:
    """Counts and the slowest error of `repeats` deaths."""
    rng, seen = random.Random(seed), []
    with running(Fleet(crew=CREW, customers=0, seed=seed)) as fleet:
        for _ in range(repeats):
            seen.append(asyncio.run(one_death(fleet, rng)))
            fleet.wait(lambda: fleet.up("engine0") and fleet.up("engine1"), "two engines")
        fleet.settle(within_s=60)
        left = books.left(fleet)
    whole = sum((one.whole for one in seen), Counter())
    ends = sum((one.ends for one in seen), Counter())
    return {
        "engines killed": repeats,
        "requests not yet streaming": whole.total(),
        "of those failed": whole.total() - whole[200],
        "streams": ends.total(),
        "streams ended by an error event": ends["error"],
        "streams that fell silent": ends["silent"],
        "left in Redis": left,
    }, {"latest error event, s": round(max(one.latest_s for one in seen), 2)}


def health(mode: str) -> float:
    """Seconds until `/health` is 503 once the only engine is gone."""
    with tempfile.TemporaryDirectory(prefix="pgd-failover-") as folder:
        env = {"PAGODA_ENGINE_COMMAND": "engine.testing"}
        with serving(Path(folder) / "home", within_s=180, env=env) as served:
            return _until_noticed(served, mode)


def _until_noticed(served: Served, mode: str) -> float:
    engine, agent = served.child("engine.testing"), served.child("inference_site agent")
    if mode == "kill -9 and no agent":
        agent.suspend()  # killed, it would take its engine along and come back with another one
    began = time.monotonic()
    engine.send_signal(signal.SIGSTOP if mode == "SIGSTOP" else signal.SIGKILL)
    wait_for(lambda: served.status("/health") == 503, within_s=60, what="/health = 503")
    took = time.monotonic() - began
    _go_on(engine, agent)
    return took


def _go_on(*processes: psutil.Process) -> None:
    for process in processes:
        if process.is_running():
            os.kill(process.pid, signal.SIGCONT)


def main(arguments: Sequence[str]) -> int:
    flags = argparse.ArgumentParser(prog="python -m tests.chaos.failover")
    flags.add_argument("--repeats", type=int, default=10, help="deaths of each sort")
    flags.add_argument("--seed", type=int, default=1)
    given = flags.parse_args(arguments)
    began = time.monotonic()
    counts, peaks = two_engines(given.repeats, given.seed)
    for mode in MODES:
        took = [health(mode) for _ in range(max(1, given.repeats // 3))]
        peaks[f"/health 503 after {mode}, s"] = round(max(took), 2)
    goals = {"of those failed": "= 0", "streams that fell silent": "= 0", "left in Redis": "= 0"}
    goals |= {f"/health 503 after {mode}, s": f"<= {bound}" for mode, bound in MODES.items()}
    evidence.add(
        "failover",
        title="Failover: two engines, one killed; and a lone engine's death in /health",
        command="python -m tests.chaos.failover",
        goals=goals | {"latest error event, s": "<= 5"},
        seed=given.seed,
        duration_s=time.monotonic() - began,
        counts=counts,
        peaks=peaks,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
