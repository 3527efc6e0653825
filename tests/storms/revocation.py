"""Keys revoked while four web processes use them: revocation.json.

Each round makes keys, lets every web process answer with them, revokes them over the management API
and goes on asking. What counts is when the last request began that was still accepted. In some
rounds Redis is killed in that moment and starts again, with its data or without.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import httpx
import redis

from tests.abuse.streams import percentile
from tests.conftest import redis_binary
from tests.evidence import add
from tests.stack import MODEL, Stack, free_port, start_stack

WEBS = 4
KEYS = 4  # of one round
GIVE_UP_S = 60.0
PAUSE_S = 0.02  # between the requests of one key at one process
RESTARTS = ("", "with its data", "without its data")
Figures = dict[str, int | float]


@dataclass
class Asker:
    """One key at one web process."""

    http: httpx.AsyncClient
    base: str
    key: str
    accepted: int = 0
    last_began: float = 0.0

    async def ask(self) -> int:
        began = time.monotonic()
        reply = await self.http.post(
            f"{self.base}/v1/completions",
            json={"model": MODEL, "prompt": "a", "max_tokens": 1},
            headers={"Authorization": f"Bearer {self.key}"},
        )
        if reply.status_code == 200:
            self.accepted += 1
            self.last_began = began
        return reply.status_code

    async def until_refused(self) -> bool:
        """Ask on until the key is refused; False when it never was."""
        until = time.monotonic() + GIVE_UP_S
        while time.monotonic() < until:
            try:
                if await self.ask() == 401:
                    return True
                await asyncio.sleep(PAUSE_S)
            except httpx.TransportError:
                await asyncio.sleep(0.01)
        return False


@dataclass
class Round:
    """How long after the call keys were still accepted (s, each key and process), and faults."""

    late_s: list[float]
    never_refused: int
    back: int  # accepted again after the refusal


async def revoked(stack: Stack, bases: list[str], restart: str, pause_s: float) -> Round:
    """One round."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http:
        made = [await _made(http, stack, number) for number in range(KEYS)]
        askers = [Asker(http, base, text) for _, text in made for base in bases]
        for asker in askers:
            await _warm(asker)
        going = [asyncio.create_task(asker.until_refused()) for asker in askers]
        await asyncio.sleep(pause_s)
        began = time.monotonic()
        ends = [_revoke(http, bases[0], stack, public_id) for public_id, _ in made]
        if restart:
            stack.kill("redis")
            await asyncio.gather(*ends)
            _start_redis(stack, keeps=restart == "with its data")
        else:
            await asyncio.gather(*ends)
        refused = await asyncio.gather(*going)
        again = [await asker.ask() for asker in askers]
    return Round(
        late_s=[max(0.0, asker.last_began - began) for asker in askers],
        never_refused=refused.count(False),
        back=again.count(200),
    )


def _start_redis(stack: Stack, *, keeps: bool) -> None:
    """Start it again on the same socket; what it logged is read or thrown away."""
    if not keeps:
        (stack.folder / "appendonly.aof").unlink()
    command = [redis_binary(), "--port", "0", "--unixsocket", str(stack.folder / "redis.sock")]
    command += ["--dir", str(stack.folder), "--save", "", "--appendonly", "yes"]
    stack._start("redis", command)


async def _made(http: httpx.AsyncClient, stack: Stack, number: int) -> tuple[str, str]:
    body = {"name": f"storm {number}", "scopes": ["inference"]}
    reply = await http.post(f"{stack.base}/api/keys", json=body, headers=stack.headers)
    made = reply.json()
    return made["id"], made["key"]


async def _warm(asker: Asker) -> None:
    """Until this process has answered with the key. After a restart of Redis it takes a moment."""
    until = time.monotonic() + GIVE_UP_S
    while await asker.ask() != 200:
        assert time.monotonic() < until, "the installation does not answer"
        await asyncio.sleep(0.05)


async def _revoke(http: httpx.AsyncClient, base: str, stack: Stack, public_id: str) -> None:
    reply = await http.post(f"{base}/api/keys/{public_id}/revoke", headers=stack.headers)
    assert reply.status_code == 200, reply.text


def main(seed: int, count: int) -> Figures:
    """`count` revocations, half of them while Redis restarts."""
    began, dice = time.monotonic(), random.Random(seed)
    stack = start_stack("--vocab-size", "200")
    late: dict[str, list[float]] = {restart: [] for restart in RESTARTS}
    never = back = 0
    try:
        with redis.Redis.from_url(stack.redis_url) as client:
            client.config_set("appendonly", "yes")
        bases = [stack.base, *(_more_web(stack, number) for number in range(1, WEBS))]
        for number in range(-(-count // KEYS)):
            restart = RESTARTS[number % 4] if number % 4 < 3 else ""
            found = asyncio.run(revoked(stack, bases, restart, dice.uniform(0, 0.2)))
            late[restart] += found.late_s
            never, back = never + found.never_refused, back + found.back
    finally:
        stack.stop()
    figures: Figures = {
        "keys revoked": KEYS * -(-count // KEYS),
        "web processes": WEBS,
        "processes that never refused a key": never,
        "keys accepted again later": back,
    }
    peaks: Figures = {}
    for restart in RESTARTS:
        name = f", Redis restarting {restart}" if restart else ""
        peaks[f"accepted after revocation p99 ms{name}"] = round(_p99(late[restart]), 1)
        peaks[f"accepted after revocation max ms{name}"] = round(max(late[restart]) * 1000, 1)
    add(
        "revocation", title="Revocation", command="python -m tests.storms revocation", seed=seed,
        duration_s=time.monotonic() - began, counts=figures, peaks=peaks,
        goals={
            "keys revoked": ">= 100", "web processes": ">= 4",
            "processes that never refused a key": "= 0", "keys accepted again later": "= 0",
            "accepted after revocation p99 ms": "<= 1000",
            "accepted after revocation p99 ms, Redis restarting with its data": "<= 1000",
            "accepted after revocation p99 ms, Redis restarting without its data": "<= 1000",
        },
        note="From the call to the begin of the last request that was accepted, for each key at "
        "each web process. Redis is killed as the call is made.",
    )  # fmt: skip
    return figures | peaks


def _p99(values: list[float]) -> float:
    return percentile(values, 0.99) * 1000


def _more_web(stack: Stack, number: int) -> str:
    port = free_port()
    name, base = f"web{number}", f"http://127.0.0.1:{port}"
    stack.start_web(port, name)
    stack.wait_ready(400, name=name, base=base)
    return base
