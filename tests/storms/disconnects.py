"""Clients that leave at random moments: what they asked for ends soon and exactly once.

`python -m tests.storms disconnects` writes docs/reliability/disconnects.json.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import redis

from engine import redis_keys
from engine.messages import EngineBeat, UsageEvent, WebBeat, unpack
from tests.abuse.streams import percentile
from tests.evidence import add
from tests.stack import MODEL, Stack, start_stack

AT_ONCE = 48
PARTS = ("engine", "web")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset instead of a goodbye
Figures = dict[str, int | float]


@dataclass
class Storm:
    """When each request's client left (by the id it gave), in Unix seconds."""

    left_at: dict[str, float] = field(default_factory=dict)
    whole: int = 0  # answers that were complete before their client left


@dataclass(frozen=True, slots=True)
class Baseline:
    """What has to be as before once nobody asks anything. Descriptors are of engine and web."""

    ledger: int
    queue: int
    running: int
    waiting: int
    blocks_missing: int
    web_requests: int
    descriptors: int = -1

    @classmethod
    def of(cls, stack: Stack) -> Baseline:
        with redis.Redis.from_url(stack.redis_url) as client:
            beats = _beats(client, redis_keys.engine_beat("*"), EngineBeat)
            webs = _beats(client, redis_keys.web_beat("*"), WebBeat)
            queues = [redis_keys.queue(MODEL, lane) for lane in redis_keys.LANES]
            return cls(
                ledger=client.hlen(redis_keys.OPEN),
                queue=sum(client.xlen(queue) for queue in queues),
                running=sum(beat.running for beat in beats),
                waiting=sum(beat.waiting for beat in beats),
                blocks_missing=sum(beat.blocks_total - beat.blocks_free for beat in beats),
                web_requests=sum(beat.open_requests for beat in webs),
                descriptors=sum(
                    psutil.Process(stack.processes[name].pid).num_fds()
                    for name in ("engine", "web")
                ),
            )


IDLE = Baseline(0, 0, 0, 0, 0, 0)


async def leave_all(stack: Stack, count: int, seed: int, rate: float) -> Storm:
    """`count` requests, `rate` of them a second and at most `AT_ONCE` at a time, each left after
    a random part of its answer."""
    storm, turn = Storm(), asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turn:
            await _leave(stack, random.Random(seed * 1_000_003 + number), storm)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(one(number))
            await asyncio.sleep(1 / rate)
    return storm


async def _leave(stack: Stack, dice: random.Random, storm: Storm) -> None:
    where, name = urlsplit(stack.base), uuid4().hex
    data = _request(dice, name, stack.keys["plain"])
    sent = len(data) if dice.random() < 0.95 else dice.randrange(len(data))
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(data[:sent])
        await writer.drain()
        wanted = dice.choice((0, 0, 1, 300, 1000, 3000))  # bytes of the answer
        got = b""
        try:
            async with asyncio.timeout(dice.uniform(0, 0.3)):
                while len(got) < wanted and (more := await reader.read(4096)):
                    got += more
                await asyncio.sleep(dice.uniform(0, 0.02))
        except TimeoutError:
            pass
        storm.whole += got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        if dice.random() < 0.5:
            plain = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    finally:
        writer.close()
    if sent == len(data):
        storm.left_at[name] = time.time()


def _request(dice: random.Random, name: str, key: str) -> bytes:
    body: dict[str, Any] = {
        "model": MODEL, "prompt": [dice.randrange(1, 100) for _ in range(dice.randint(1, 60))],
        "max_tokens": dice.choice((20, 200, 1500)), "stream": dice.random() < 0.7,
        "n": dice.choice((1, 1, 2)), "request_id": name, "ignore_eos": True,
    }  # fmt: skip
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def ends(stack: Stack) -> list[UsageEvent]:
    """Every end so far. No settler runs here, so that all of them are there."""
    with redis.Redis.from_url(stack.redis_url) as client:
        return [unpack(UsageEvent, fields[b"e"]) for _, fields in client.xrange(redis_keys.USAGE)]


def judged(storm: Storm, events: list[UsageEvent]) -> tuple[Figures, list[float]]:
    """Ends per request, and ms from leaving to the end of those that were cut off."""
    times: dict[str, int] = {}
    took: list[float] = []
    for event in events:
        name = event.bill.get("client_request_id", "")
        if name not in storm.left_at:
            continue
        times[name] = times.get(name, 0) + 1
        if event.finish.value == "cancelled":
            took.append(max(0.0, event.ended_ms - storm.left_at[name] * 1000))
    figures: Figures = {
        "requests left by their client": len(storm.left_at),
        "ended before they were admitted": len(storm.left_at) - len(times),
        "cut off in the queue or the engine": len(took),
        "ended more than once": sum(count > 1 for count in times.values()),
    }
    return figures, took


def settled(stack: Stack, before: Baseline, within_s: float = 60) -> Baseline:
    """The baseline after the storm; waits until it is the one before, at most so long. Without
    descriptors in `before` they are not looked at."""
    until = time.monotonic() + within_s
    while True:
        now = Baseline.of(stack)
        if before.descriptors < 0:
            now = dataclasses.replace(now, descriptors=-1)
        if now == before or time.monotonic() > until:
            return now
        time.sleep(0.1)


def main(seed: int, count: int, real: int, rate: float) -> Figures:
    """`count` on the engine without a model and `real` on the engine itself, at a quarter of
    the rate."""
    began, figures, peaks = time.monotonic(), {}, {}
    for engine, number, pace in (("stub", count, rate), ("real engine", real, rate / 4)):
        stack = start_stack("--step-delay-s", "0.005", "--vocab-size", "200",
                            real_engine=engine != "stub")  # fmt: skip
        try:
            _warm(stack)
            before = settled(stack, Baseline.of(stack), 5)
            storm = asyncio.run(leave_all(stack, number, seed, pace))
            after = settled(stack, before)
            found, took = judged(storm, ends(stack))
            figures |= {f"{name}, {engine}": value for name, value in found.items()}
            off = sum(abs(getattr(after, n) - getattr(before, n)) for n in Baseline.__slots__)
            figures[f"off the baseline afterwards, {engine}"] = off
            peaks[f"freed p50 ms, {engine}"] = round(percentile(took, 0.5), 1)
            peaks[f"freed p99 ms, {engine}"] = round(percentile(took, 0.99), 1)
            peaks[f"freed max ms, {engine}"] = round(max(took), 1)
        finally:
            stack.stop()
    goals = {"requests left by their client, stub": ">= 20000"}
    for engine in ("stub", "real engine"):
        goals[f"ended more than once, {engine}"] = "= 0"
        goals[f"off the baseline afterwards, {engine}"] = "= 0"
        goals[f"freed p99 ms, {engine}"] = "<= 500"
    add(
        "disconnects", title="Clients that leave", command="python -m tests.storms disconnects",
        seed=seed, duration_s=time.monotonic() - began, counts=figures, peaks=peaks, goals=goals,
        keep=True,
        note=f"{rate:g} a second, a quarter of that on the real engine. Freed: from the client's "
        "close to the end in Redis, which follows the blocks. The baseline: open and queued "
        "requests, running and waiting sequences, KV blocks, requests held by the web process, "
        "file descriptors of engine and web.",
    )  # fmt: skip
    return figures | peaks


def _warm(stack: Stack) -> None:
    """Connections and files that stay open are opened before the baseline is taken."""
    asyncio.run(leave_all(stack, 100, 0, 50))
    settled(stack, IDLE, 30)


def _beats(client: redis.Redis, pattern: str, kind: Any) -> list[Any]:
    packed = [client.get(key) for key in client.scan_iter(pattern)]
    return [unpack(kind, beat) for beat in packed if isinstance(beat, bytes)]
