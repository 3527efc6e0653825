"""Mixed load on the real engine for a long time: nothing may be left behind (soak.json).

`python -m tests.storms soak --minutes 30` serves the bundled model and asks it everything at once.
Memory is read once a minute while the load goes on; blocks, descriptors and threads are compared
when all is quiet, before and after.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from engine import redis_keys
from engine.messages import EngineBeat, unpack
from tests.evidence import add
from tests.random_requests import drawn
from tests.served import Served, serving

AT_ONCE = 12
WARM_UP = 300  # requests before anything is measured: caches fill, libraries load
SAMPLE_S = 10.0
PARTS = {"engine": "-m engine --engine-id", "web": "inference_site.web"}
Figures = dict[str, int | float]


@dataclass
class Load:
    """Requests so far, and what was wrong with any."""

    done: int = 0
    wrong: list[str] = field(default_factory=list)
    samples: list[tuple[int, dict[str, int]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Quiet:
    """What has to be the same whenever nobody asks anything."""

    blocks_missing: int
    ledger: int
    unsettled: int
    descriptors: tuple[int, ...]
    threads: tuple[int, ...]


class Processes:
    """The engine and the web process, also after one was started anew."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._seen: set[int] = set()

    def __call__(self) -> dict[str, psutil.Process]:
        now = {name: self._served.child(words) for name, words in PARTS.items()}
        self._seen |= {process.pid for process in now.values()}
        return now

    @property
    def restarts(self) -> int:
        return len(self._seen) - len(PARTS)


def memory_bytes(process: psutil.Process) -> int:
    """RssAnon + VmSwap: what a process holds that no file backs, in memory or swapped out."""
    wanted = ("RssAnon:", "VmSwap:")
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))


def quiet(served: Served, parts: Processes) -> Quiet:
    with served.redis() as client:
        beats = [client.get(key) for key in client.scan_iter(redis_keys.engine_beat("*"))]
        read = [unpack(EngineBeat, beat) for beat in beats if isinstance(beat, bytes)]
        return Quiet(
            blocks_missing=sum(beat.blocks_total - beat.blocks_free for beat in read),
            ledger=client.hlen(redis_keys.OPEN),
            unsettled=client.xlen(redis_keys.USAGE),
            descriptors=tuple(part.num_fds() for part in parts().values()),
            threads=tuple(part.num_threads() for part in parts().values()),
        )


def settled(read: Callable[[], Quiet], wanted: Quiet | None, within_s: float = 60) -> Quiet:
    """Two readings in a row that agree, or that are as wanted; the last one after that time."""
    until, before = time.monotonic() + within_s, read()
    while time.monotonic() < until:
        time.sleep(3)
        now = read()
        calm = now.blocks_missing == now.ledger == now.unsettled == 0
        if now == wanted or (wanted is None and calm and now == before):
            return now
        before = now
    return before


async def load(served: Served, model: str, seed: int, go_on: Callable[[Load], bool]) -> Load:
    """`AT_ONCE` askers with random requests of all kinds; one in ten leaves in the middle."""
    state, numbers = Load(), iter(range(seed * 10**6, (seed + 1) * 10**6))
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    headers = {"Authorization": f"Bearer {served.boot['api_key']}"}

    async def ask(http: httpx.AsyncClient) -> None:
        while go_on(state):
            route, body = drawn(next(numbers), model, sampled=True)
            await _one(http, route, body, random.Random(state.done), state)
            state.done += 1

    options: Any = {"headers": headers, "limits": limits, "timeout": 300, "trust_env": False}
    async with (
        httpx.AsyncClient(base_url=served.url, **options) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(AT_ONCE):
            tasks.create_task(ask(http))
    return state


async def _one(
    http: httpx.AsyncClient, route: str, body: dict[str, Any], dice: random.Random, state: Load
) -> None:
    streams = dice.random() < 0.6
    if not streams:
        reply = await http.post(route, json=body)
        if reply.status_code != 200:
            state.wrong.append(
                f"{reply.status_code} {reply.text[:200]} for {json.dumps(body)[:300]}"
            )
        return
    leaves = dice.random() < 0.15
    async with http.stream("POST", route, json=body | {"stream": True}) as reply:
        line = ""
        async for line in reply.aiter_lines():
            if leaves and line and dice.random() < 0.3:
                return
            if line.startswith('data: {"error"') or reply.status_code != 200:
                state.wrong.append(f"{reply.status_code} {line[:200]} for {json.dumps(body)[:300]}")


def slope_bytes(samples: list[tuple[int, dict[str, int]]], part: str) -> float | None:
    """Bytes for each request, by least squares over the second half: the first still warms up. None
    where too few were taken to tell."""
    later = samples[len(samples) // 2 :]
    done = np.array([count for count, _ in later], float)
    held = np.array([held[part] for _, held in later], float)
    return float(np.polyfit(done, held, 1)[0]) if len(later) > 5 else None


def main(seed: int, minutes: float) -> Figures:
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        serving(Path(folder) / "home", within_s=400) as served,
    ):
        figures, wrong = soaked(served, seed, minutes)
    add(
        "soak", title="Soak", command="make soak MINUTES=30", seed=seed,
        duration_s=time.monotonic() - began, counts=figures,
        goals={
            "minutes of load": ">= 30", "wrong answers": "= 0", "restarts": "= 0",
            "KV blocks missing afterwards": "= 0", "open or unsettled afterwards": "= 0",
            "descriptors gained": "= 0", "threads gained": "= 0",
            "engine, bytes for each request": "<= 1024", "web, bytes for each request": "<= 1024",
        },
        note=f"Random completions and chats, {AT_ONCE} at once, on the bundled model: streams, "
        "tools, reasoning, schemas, several choices, log-probabilities, one in eleven left in the "
        f"middle. {WARM_UP} requests come before; memory is RssAnon + VmSwap.",
    )  # fmt: skip
    for words in wrong[:20]:
        print(words)  # noqa: T201 - what to look into
    return figures


def soaked(served: Served, seed: int, minutes: float) -> tuple[Figures, list[str]]:
    model = served.get("/v1/models")["data"][0]["id"]
    parts = Processes(served)
    parts()
    asyncio.run(load(served, model, seed, lambda state: state.done < WARM_UP))
    before = settled(lambda: quiet(served, parts), None)
    until, next_at = time.monotonic() + minutes * 60, [0.0]

    def go_on(state: Load) -> bool:
        now = time.monotonic()
        if now >= next_at[0]:
            next_at[0] = now + SAMPLE_S
            held = {name: memory_bytes(part) for name, part in parts().items()}
            state.samples.append((state.done, held))
        return now < until

    state = asyncio.run(load(served, model, seed + 1, go_on))
    after = settled(lambda: quiet(served, parts), before)
    figures: Figures = {
        "minutes of load": round(minutes, 1),
        "requests": state.done,
        "wrong answers": len(state.wrong),
        "restarts": parts.restarts,
        "KV blocks missing afterwards": after.blocks_missing,
        "open or unsettled afterwards": after.ledger + after.unsettled,
        "descriptors gained": sum(after.descriptors) - sum(before.descriptors),
        "threads gained": sum(after.threads) - sum(before.threads),
    }
    for name in PARTS:
        if (slope := slope_bytes(state.samples, name)) is not None:
            figures[f"{name}, bytes for each request"] = round(slope)
    if parts.restarts:
        state.wrong.append(served.log.read_text()[-3000:])
    return figures, state.wrong
