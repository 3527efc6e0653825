"""Limits under concurrency, under random deaths, and what the limiter costs: limits.json."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import redis
import redis.asyncio

from engine import redis_keys, scripts
from engine.client import new_rid
from engine.messages import Bill, Finish, QueueBody
from engine.sampling_params import SamplingParams
from tests.abuse.streams import percentile
from tests.evidence import add
from tests.integration.transport.test_limits import CALLERS, NOW, call_of
from tests.integration.transport.test_lua_model import QUEUE, SUBJECT, Trace

CASES = (  # kind, limit, what each caller reserves, how many fit
    ("rpm", 37, 5, 37), ("tpm", 1000, 7, 142), ("slots", 11, 5, 11), ("budget", 777, 10, 77),
    ("money", 777, 10, 77),
)  # fmt: skip
# Every rule that one request can meet: those of its key, its key's owner and its model.
SUBJECTS = ("key:k", "owner:o", "model:m")
RULES = (
    ("rpm", ""), ("tpm", ""), ("slots", ""), ("budget", ""), ("budget", "day"),
    ("budget", "month"), ("money", "day"), ("money", "month"),
)  # fmt: skip
ENOUGH, RESERVE = 10**12, 7
STEPS = 60
TIMED = 5_000


def admitted(url: str, kind: str, limit: int, reserve: int) -> int:
    """How many of `CALLERS` callers at once, each on a connection of its own, are let in."""

    async def ask() -> int:
        options = {"max_connections": CALLERS, "socket_connect_timeout": 60}
        async with redis.asyncio.Redis.from_url(url, **options) as client:
            await client.flushall()
            await client.script_load(scripts.script("admit").text)
            calls = [call_of(kind, limit, reserve) for _ in range(CALLERS)]
            asked = (scripts.run_all_async(client, [call]) for call in calls)
            return sum(scripts.text(r[0][0]) == "OK" for r in await asyncio.gather(*asked))

    return asyncio.run(ask())


def leaked(trace: Trace, steps: int) -> int:
    """Run one random sequence, let the reconciler end what is open, count what is still held."""
    trace.run(steps)
    for rid in list(trace.model.open):
        end = scripts.Ending(
            rid=rid, attempt=trace.model.open[rid].attempt, web="w",
            finish=Finish.LOST, who="any",
        )  # fmt: skip
        assert trace.call(scripts.terminal(end)) == 1
    client = trace.client
    healed = scripts.run(client, scripts.heal())
    held = int(client.get(redis_keys.limit("held", SUBJECT)) or 0)
    slots = client.zcard(redis_keys.limit("slots", SUBJECT))
    size = int(client.get(redis_keys.queue_bytes(QUEUE)) or 0)
    ledger, queue = client.hlen(redis_keys.OPEN), client.xlen(QUEUE)
    return int(healed + abs(held) + slots + abs(size) + ledger + queue)


def sequences(client: redis.Redis, rng: random.Random, count: int) -> tuple[int, dict[str, int]]:
    """What `count` sequences leaked, and how often each script had each outcome."""
    left, outcomes = 0, {}
    for _ in range(count):
        seen: dict[str, set[object]] = {}
        left += leaked(Trace(client, rng, seen), STEPS)
        for script, kinds in seen.items():
            for kind in kinds:
                outcomes[f"{script} {kind}"] = outcomes.get(f"{script} {kind}", 0) + 1
    return left, outcomes


def call_with_every_rule() -> scripts.Call:
    """An admission that fits all of them: each is read and written."""
    body = QueueBody(
        rid=new_rid(), attempt=1, web="w", model="m", prompts=[[1]], params=SamplingParams(),
        deadline_ms=int(NOW) + 60_000,
    )  # fmt: skip
    rules: list[tuple[Any, ...]] = []
    for subject in SUBJECTS:
        for kind, period in RULES:
            keys = scripts.rule_keys(kind, subject, period, int(NOW) / 1000)
            more = (scripts.PERIOD_MS[period], RESERVE) if kind in scripts.BUDGETS else ()
            rules.append((kind, *keys, ENOUGH, *more))
    args = scripts.AdmitArgs(
        rid=body.rid, attempt=1, web="w", key_id="k", key_epoch=0, catalog_epoch=0, epoch="",
        rules=rules, reserve=RESERVE, deadline=body.deadline_ms, queue_entries=10**6,
        queue_bytes=10**9, usage_entries=10**6,
    )  # fmt: skip
    return scripts.admit(args, QUEUE, body, Bill(key_id="k"), NOW)


def script_us(client: redis.Redis, count: int) -> list[int]:
    """Microseconds inside Redis of each admission with every rule, by its slow log."""
    client.flushall()
    logged = count * 150  # what a script calls is logged, too
    client.config_set("slowlog-max-len", logged)
    client.script_load(scripts.script("admit").text)
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    for _ in range(count):
        reply = scripts.run(client, call_with_every_rule())
        assert scripts.text(reply[0]) == "OK"
    client.config_set("slowlog-log-slower-than", 10_000)
    found = client.slowlog_get(logged)
    return [entry["duration"] for entry in found if entry["command"].startswith(b"EVALSHA")]


def main(url: str, seed: int, count: int) -> dict[str, Any]:
    began, rng, wrong = time.monotonic(), random.Random(seed), 0
    for kind, limit, reserve, fits in CASES:
        wrong += sum(admitted(url, kind, limit, reserve) != fits for _ in range(10))
    with redis.Redis.from_url(url) as client:
        left, outcomes = sequences(client, rng, count)
        durations = [float(us) for us in script_us(client, TIMED)]
    figures = {
        "rounds of 200 callers at once": 10 * len(CASES),
        "rounds that admitted another number than the limit": wrong,
        "random sequences": count,
        "kinds of outcome in them": len(outcomes),
        "holds, slots, bytes and entries leaked": left,
        "rules of each admission timed": len(SUBJECTS) * len(RULES),
        "admissions timed": len(durations),
        "limiter p50 ms in Redis": round(percentile(durations, 0.5) / 1000, 3),
        "limiter p99 ms in Redis": round(percentile(durations, 0.99) / 1000, 3),
    }
    add(
        "limits", title="Limits", command="python -m tests.storms limits", seed=seed,
        duration_s=time.monotonic() - began, counts=figures,
        goals={
            "rounds that admitted another number than the limit": "= 0",
            "random sequences": ">= 1000", "holds, slots, bytes and entries leaked": "= 0",
            "limiter p99 ms in Redis": "<= 1",
        },
        note="A sequence is 60 random steps of admission, delivery, checkpoint, end, cancellation, "
        "an engine's or a web process' death and requeueing; Redis is compared with a model after "
        "each step, and must hold nothing once the reconciler has ended what was left open.",
    )  # fmt: skip
    return figures
