"""Limits under concurrency: exactly the limit is admitted, and nothing stays held."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from engine import redis_keys, scripts
from engine.client import LimitRule, new_rid
from engine.errors import QuotaExceeded, RateLimited
from engine.messages import Bill, Control, ControlKind, Finish, QueueBody
from engine.sampling_params import SamplingParams
from tests.integration.transport.conftest import admission
from tests.integration.transport.waiting import soon
from tests.served import LIMIT_S

CALLERS = 200
NOW = "1700000000000"


def call_of(kind: str, limit: int, reserve: int, rid: str = "") -> scripts.Call:
    rid = rid or new_rid()
    body = QueueBody(
        rid=rid, attempt=1, web="w", model="m", prompts=[[1]], params=SamplingParams(),
        deadline_ms=int(NOW) + 60_000,
    )  # fmt: skip
    args = scripts.AdmitArgs(
        rid=rid, attempt=1, web="w", key_id="k", key_epoch=0, catalog_epoch=0, epoch="",
        rules=[(kind, *scripts.rule_keys(kind, "key:k"), limit)], reserve=reserve,
        deadline=body.deadline_ms, queue_entries=10**6, queue_bytes=10**9, usage_entries=10**6,
    )  # fmt: skip
    return scripts.admit(args, redis_keys.queue("m", "high"), body, Bill(key_id="k"), NOW)


@pytest.mark.parametrize(
    ("kind", "limit", "reserve", "admitted"),
    [
        ("rpm", 37, 5, 37),
        ("tpm", 1000, 7, 142),
        ("slots", 11, 5, 11),
        ("budget", 777, 10, 77),
        ("money", 777, 10, 77),
    ],
)
async def test_200_callers_at_once_admit_exactly_the_limit(
    redis_url, kind, limit, reserve, admitted
):
    async with redis.asyncio.Redis.from_url(
        redis_url, max_connections=CALLERS, socket_connect_timeout=LIMIT_S, socket_timeout=LIMIT_S
    ) as client:
        await client.script_load(scripts.script("admit").text)
        calls = [call_of(kind, limit, reserve) for _ in range(CALLERS)]
        replies = await asyncio.gather(*(scripts.run_all_async(client, [call]) for call in calls))
    verdicts = [scripts.text(reply[0][0]) for reply in replies]
    assert verdicts.count("OK") == admitted
    assert verdicts.count("LIMIT") == CALLERS - admitted


async def test_a_repeated_admission_debits_once(redis_url):
    call = call_of("budget", 100, 40)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        first, again = await scripts.run_all_async(client, [call, call])
        assert first == again
        assert await client.get(redis_keys.limit("held", "key:k")) == b"40"
        assert await client.xlen(redis_keys.queue("m", "high")) == 1


def test_an_admission_that_redis_reads_after_its_cancellation_does_not_begin(r):
    """Its connection broke with the call still unread; the cancellation came over another one."""
    late = call_of("budget", 100, 40, rid="a")
    abort = Control(kind=ControlKind.ABORT, rid="a", attempt=1)
    assert scripts.run(r, scripts.cancel("a", abort, Finish.CANCELLED, clock=NOW)) == b"GONE"
    scripts.run(r, late)
    assert r.hlen(redis_keys.OPEN) == 0
    assert r.xlen(redis_keys.queue("m", "high")) == 0
    assert r.get(redis_keys.limit("held", "key:k")) is None


async def test_holds_are_zero_after_a_storm_of_ends_and_aborts(r, engine_of, client_of):
    engine_of(step_delay_s=0.001, max_num_seqs=32)
    client = await client_of()
    rules = tuple(
        LimitRule(kind=kind, subject="key:k", limit=limit)
        for kind, limit in (("budget", 10**7), ("slots", 60), ("tpm", 10**7))
    )

    async def one(i: int) -> int:
        try:
            async with client.submit(admission(tokens=1 + i % 40, rules=rules)) as stream:
                if i % 3 == 0:
                    return 0
                async for _ in stream:
                    if i % 3 == 1:
                        return 0
                return 1
        except (RateLimited, QuotaExceeded):
            return -1

    outcomes = await asyncio.gather(*(one(i) for i in range(300)))
    assert {-1, 0, 1} == set(outcomes)
    await soon(lambda: r.hlen(redis_keys.OPEN) == 0)
    assert r.get(redis_keys.limit("held", "key:k")) is None
    assert r.zcard(redis_keys.limit("slots", "key:k")) == 0
    assert r.get(redis_keys.queue_bytes(redis_keys.queue("m", "high"))) in (None, b"0")


def test_a_wrong_hold_is_healed(r):
    name = redis_keys.limit("held", "key:k")
    r.set(name, 123)
    r.sadd(redis_keys.HOLDS, name)
    assert scripts.run(r, scripts.heal()) == 1
    assert r.get(name) is None
