"""The client against a fake engine: streams, leaving early, refusals, second attempts."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from contextlib import contextmanager

import pytest

from apps.usage.judge import Judge
from engine import redis_keys
from engine.client import LimitRule, StaleSnapshot, new_rid
from engine.errors import (
    EngineLost,
    InvalidRequest,
    Overloaded,
    QuotaExceeded,
    RateLimited,
)
from engine.live import LiveTable
from engine.messages import Bill, EventKind, Finish, UsageEvent, unpack
from tests.integration.transport.conftest import admission
from tests.integration.transport.waiting import soon
from tests.served import LIMIT_S


def tokens_of(deltas):
    return [token for delta in deltas for choice in delta.choices for token in choice.token_ids]


def usage(r):
    return [unpack(UsageEvent, fields[b"e"]) for _, fields in r.xrange(redis_keys.USAGE)]


async def whole(client, **fields):
    async with client.submit(admission(**fields)) as stream:
        return await stream.whole()


async def test_a_request_streams_and_leaves_one_usage_event(r, engine_of, client_of):
    engine_of()
    client = await client_of()
    async with client.submit(admission(tokens=8)) as stream:
        await stream.started()
        deltas = [delta async for delta in stream]
    assert deltas[-1].kind is EventKind.END
    assert len(tokens_of(deltas)) == 8
    (event,) = usage(r)
    assert (event.rid, event.finish, event.attempts) == (stream.rid, Finish.LENGTH, 1)
    assert event.counts == stream.counts
    assert (event.counts.prompt_tokens, event.counts.completion_tokens) == (3, 8)
    assert r.hlen(redis_keys.OPEN) == 0
    assert r.xlen(redis_keys.queue("m", "high")) == 0


async def test_many_requests_at_once_get_their_own_tokens(engine_of, client_of):
    engine_of(tokens_per_step=3)
    client = await client_of()
    sizes = [1 + i % 7 for i in range(150)]
    answers = await asyncio.gather(*(whole(client, prompt=size, tokens=size) for size in sizes))
    assert [len(tokens_of(deltas)) for deltas in answers] == sizes
    by_size = {
        size: {tuple(tokens_of(a)) for a in answers if len(tokens_of(a)) == size} for size in sizes
    }
    assert all(len(variants) == 1 for variants in by_size.values())
    assert client.open_requests == 0


async def test_leaving_early_frees_the_engine_and_bills_what_was_made(r, engine_of, client_of):
    engine = engine_of(step_delay_s=0.005)
    client = await client_of()
    async with client.submit(admission(tokens=10_000)) as stream:
        async for _ in stream:
            break
    await soon(lambda: engine.core.gauges().running == 0, what="abort")
    await soon(lambda: usage(r), what="usage")
    (event,) = usage(r)
    assert event.finish is Finish.CANCELLED
    assert 0 < event.counts.completion_tokens < 10_000
    assert r.hlen(redis_keys.OPEN) == 0


async def test_cancelling_the_handler_aborts(engine_of, client_of):
    engine = engine_of(step_delay_s=0.005)
    client = await client_of()
    task = asyncio.create_task(whole(client, tokens=10_000))
    await soon(lambda: engine.core.gauges().running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await soon(lambda: engine.core.gauges().running == 0)


async def test_a_request_nobody_reads_is_taken_back_from_the_queue(r, client_of):
    client = await client_of(queue_wait_s=0.3)
    async with client.submit(admission()) as stream:
        with pytest.raises(Overloaded) as caught:
            await stream.started()
    assert caught.value.param == "queue_wait"
    assert caught.value.retry_after_s
    await soon(lambda: r.hlen(redis_keys.OPEN) == 0)
    (event,) = usage(r)
    assert (event.finish, event.error) == (Finish.ERROR, "Overloaded")
    assert event.counts.completion_tokens == 0
    assert r.xlen(redis_keys.queue("m", "high")) == 0


async def test_a_refusal_of_the_engine_reaches_the_handler_before_any_byte(r, engine_of, client_of):
    engine_of(max_model_len=10)
    client = await client_of()
    async with client.submit(admission(prompt=20)) as stream:
        with pytest.raises(InvalidRequest, match="20 tokens"):
            await stream.started()
    (event,) = usage(r)
    assert (event.finish, event.error) == (Finish.ERROR, "InvalidRequest")


async def test_a_deadline_stops_the_engine(r, engine_of, client_of):
    engine_of(step_delay_s=0.01)
    client = await client_of()
    async with client.submit(admission(tokens=10_000, deadline_ms=300)) as stream:
        with pytest.raises(Overloaded):
            await stream.whole()
    (event,) = usage(r)
    assert event.finish is Finish.CANCELLED


async def test_a_request_that_is_read_too_late_is_an_error_and_no_empty_answer(
    r, engine_of, client_of
):
    client = await client_of()
    async with client.submit(admission(n=2, deadline_ms=1)) as stream:
        await asyncio.sleep(0.01)
        engine_of()
        with pytest.raises(Overloaded):
            await stream.whole()
    (event,) = usage(r)
    assert (event.finish, event.counts.completion_tokens) == (Finish.CANCELLED, 0)


async def test_limits_refuse_with_name_and_time(engine_of, client_of):
    engine_of()
    client = await client_of()
    rpm = (LimitRule(kind="rpm", subject="key:k", limit=2),)
    for left in (1, 0):
        async with client.submit(admission(rules=rpm)) as stream:
            await stream.whole()
        assert stream.limits_left[0].remaining == left
    with pytest.raises(RateLimited) as caught:
        await whole(client, rules=rpm)
    assert caught.value.param == "rpm"
    assert 20 < caught.value.retry_after_s <= 30


async def test_a_reservation_over_the_whole_limit_is_a_bad_request(client_of):
    client = await client_of()
    with pytest.raises(InvalidRequest) as caught:
        await whole(client, tokens=100, rules=(LimitRule(kind="tpm", subject="key:k", limit=50),))
    assert caught.value.param == "max_tokens"


async def test_unused_reservation_comes_back(engine_of, client_of):
    engine_of()
    client = await client_of()
    rules = tuple(LimitRule(kind=k, subject="owner:o", limit=100) for k in ("tpm", "budget"))
    for used in (11, 22, 33):  # 3 + 8 of the 60 reserved
        async with client.submit(admission(rules=rules, reserve=60)) as stream:
            await stream.whole()
        assert stream.limits_left[1].remaining == 100 - (used - 11) - 60
    with pytest.raises(QuotaExceeded):
        await whole(client, rules=rules[1:], reserve=68)


async def test_slots_bound_what_runs_at_once(r, engine_of, client_of):
    engine_of(step_delay_s=0.005)
    client = await client_of()
    slots = (LimitRule(kind="slots", subject="key:k", limit=1),)
    async with client.submit(admission(tokens=1000, rules=slots)) as stream:
        await stream.started()
        with pytest.raises(RateLimited, match="requests at once"):
            await whole(client, rules=slots)
    await soon(lambda: not r.zcard(redis_keys.limit("slots", "key:k")), what="a free slot")
    assert tokens_of(await whole(client, rules=slots))


async def test_a_full_queue_says_when_to_come_back(client_of):
    client = await client_of(queue_entries=2)
    async with client.submit(admission()), client.submit(admission()):
        with pytest.raises(Overloaded) as caught:
            await whole(client)
    assert caught.value.param == "queue"
    assert caught.value.retry_after_s >= 1


@pytest.mark.parametrize(("key", "kind"), [("key", "key"), ("*", "key"), ("catalog", "catalog")])
async def test_stale_snapshots_are_told_apart(r, client_of, key, kind):
    client = await client_of()
    if kind == "key":
        r.hset(redis_keys.KEYS_EPOCH, "k" if key == "key" else "*", 1)
    else:
        r.incr(redis_keys.CATALOG_EPOCH)
    with pytest.raises(StaleSnapshot) as caught:
        await whole(client)
    assert caught.value.kind == kind
    assert r.hlen(redis_keys.OPEN) == 0


async def test_lost_redis_data_makes_snapshots_stale(r, client_of):
    client = await client_of()
    r.flushall()
    with pytest.raises(StaleSnapshot):
        await whole(client)


async def test_after_an_outage_snapshots_are_dropped(r, engine_of, client_of):
    engine_of()
    client, back = await client_of(), []
    client._on_redis_back = lambda: back.append(None)
    await soon(lambda: r.info("clients")["blocked_clients"] > 1, what="readers")
    r.client_kill_filter(_type="normal", skipme=True)
    await soon(lambda: back, what="the word that Redis is back")
    assert await whole(client)


async def test_after_data_loss_every_request_is_admitted_at_its_second_try(r, client_of):
    client = await client_of()
    r.flushall()
    r.set(redis_keys.EPOCH, "another")

    async def twice() -> bool:
        with pytest.raises(StaleSnapshot):
            await whole(client)
        async with client.submit(admission()) as stream:
            return stream.admitted

    assert all(await asyncio.gather(*(twice() for _ in range(30))))


async def test_no_memory_in_redis_is_an_overload(r, client_of):
    client = await client_of()
    r.config_set("maxmemory", "1")
    try:
        with pytest.raises(Overloaded) as caught:
            await whole(client)
    finally:
        r.config_set("maxmemory", "0")
    assert caught.value.param == "memory"


@contextmanager
def not_writable(r):
    """As after a failover, or with a full disk."""
    r.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        r.replicaof("NO", "ONE")


async def test_a_redis_that_takes_no_writes_is_an_overload(r, client_of):
    client = await client_of(redis_outage_s=0.5)
    with not_writable(r), pytest.raises(Overloaded) as caught:
        await whole(client)
    assert caught.value.param == "redis"


async def test_an_abort_waits_for_a_redis_that_takes_no_writes(r, client_of):
    client = await client_of()
    async with client.submit(admission()):
        r.replicaof("127.0.0.1", "1")
    with not_writable(r):
        await asyncio.sleep(0.1)
        assert r.hlen(redis_keys.OPEN) == 1
    await soon(lambda: r.hlen(redis_keys.OPEN) == 0, what="the abort")


async def test_a_key_with_many_requests_does_not_starve_another(r, engine_of, client_of):
    """The second key asks when the first has 300 requests open: it waits for a few of them."""
    engine_of(max_num_seqs=2, step_delay_s=0.005)
    client = await client_of(fair_share=8)
    ended: list[str] = []

    async def ask(key: str) -> None:
        asked = dataclasses.replace(admission(tokens=4), key_id=key, bill=Bill(key_id=key))
        async with client.submit(asked) as stream:
            await stream.whole()
        ended.append(key)

    flood = [asyncio.create_task(ask("many")) for _ in range(300)]
    await soon(lambda: ended)
    before = len(ended)
    await ask("one")
    waited_for = ended.index("one") - before
    await asyncio.gather(*flood)
    assert waited_for < 150
    assert not client._open_of_key


async def test_a_draining_process_takes_nothing(client_of):
    client = await client_of()
    client.draining = True
    with pytest.raises(Overloaded, match="shutting down"):
        await whole(client)


async def test_an_engine_that_dies_before_the_first_byte_is_not_noticed(
    redis_url, r, engine_of, client_of
):
    dying = engine_of("dying", step_delay_s=0.02)
    client = await client_of()
    async with client.submit(admission(tokens=50)) as stream:
        await stream.started()
        reading = asyncio.create_task(stream.whole())
        await asyncio.sleep(0.1)  # some deltas are in, none has left
        silence(dying)
        engine_of("heir", tokens_per_step=10)
        await asyncio.to_thread(Judge(redis_url).look, "dying")
        deltas = await asyncio.wait_for(reading, LIMIT_S)
    assert len(tokens_of(deltas)) == 50
    assert stream.attempt == 2
    await soon(lambda: usage(r))
    (event,) = usage(r)
    assert (event.attempts, event.engine, event.finish) == (2, "heir", Finish.LENGTH)


async def test_an_engine_that_dies_after_the_first_byte_is_an_error(
    redis_url, r, engine_of, client_of
):
    dying = engine_of("dying", step_delay_s=0.02)
    client = await client_of()
    async with client.submit(admission(tokens=500)) as stream:
        with pytest.raises(EngineLost):  # noqa: PT012 (the error comes while iterating)
            async for _ in stream:
                if tokens_reached(r, "dying"):
                    silence(dying)
                    await asyncio.to_thread(Judge(redis_url).look, "dying")
    await soon(lambda: usage(r))
    (event,) = usage(r)
    assert (event.finish, event.engine, event.error) == (Finish.LOST, "dying", "EngineLost")
    assert event.counts.completion_tokens > 0  # the last checkpoint
    assert r.hlen(redis_keys.OPEN) == 0


async def test_two_deaths_are_enough(redis_url, r, engine_of, client_of):
    client = await client_of()
    async with client.submit(admission(tokens=5000)) as stream:
        for name in ("first", "second"):
            engine = engine_of(name, step_delay_s=0.02)
            await stream.started()
            silence(engine)
            await asyncio.to_thread(Judge(redis_url).look, name)
            await soon(lambda: stream.attempt == 2)
        with pytest.raises(EngineLost):
            await stream.whole()
    await soon(lambda: usage(r))
    (event,) = usage(r)
    assert (event.finish, event.attempts) == (Finish.LOST, 2)


async def test_a_reader_that_takes_nothing_is_cut_off_and_its_engine_stops(r, engine_of, client_of):
    engine = engine_of(tokens_per_step=64)
    client = await client_of()
    async with client.submit(admission(tokens=10**7)) as stream:
        await stream.started()
        await soon(lambda: engine.core.gauges().running == 0, what="abort")
        with pytest.raises(Overloaded, match="too slowly"):
            await stream.whole()
    (event,) = await soon(lambda: usage(r), what="usage")
    assert event.finish is Finish.CANCELLED
    assert event.counts.completion_tokens < 10**7


def silence(engine):
    """The engine is dead to the world: it reads and writes nothing more."""
    transport = engine.transport
    transport._reader.stop()
    transport._wake_reader()
    transport._reader.join(LIMIT_S)
    transport.cancel_all()
    transport.live = LiveTable()  # deltas of requests it does not know are dropped


def tokens_reached(r, engine):
    return bool(r.hlen(redis_keys.checkpoint(engine)))


def test_request_ids_are_uuid7_in_order():
    ids = [new_rid() for _ in range(3)]
    assert {uuid.UUID(rid).version for rid in ids} == {7}
    assert len(set(ids)) == 3
    assert [rid[:11] for rid in ids] == sorted(rid[:11] for rid in ids)
