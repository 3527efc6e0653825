"""Dead engines, dead web processes, lost data: what the judge, the reconciler and engines do."""

from __future__ import annotations

import asyncio

import pytest

from apps.usage.judge import Judge, StandIn
from apps.usage.reconcile import Reconciler
from engine import redis_keys, scripts
from engine.errors import Overloaded
from engine.messages import (
    Bill,
    Control,
    ControlKind,
    EngineBeat,
    EngineState,
    Finish,
    QueueBody,
    UsageEvent,
    pack,
    unpack,
)
from engine.redis_link import RedisLink
from engine.sampling_params import SamplingParams
from tests.integration.transport.conftest import admission
from tests.integration.transport.waiting import soon
from tests.served import LIMIT_S

QUEUE = redis_keys.queue("m", "high")


def usage(r):
    return [unpack(UsageEvent, fields[b"e"]) for _, fields in r.xrange(redis_keys.USAGE)]


def enqueue(r, rid: str, *, life_ms: int = 60_000) -> None:
    seconds, _ = r.time()
    body = QueueBody(
        rid=rid, attempt=1, web="gone-web", model="m", prompts=[[1]], params=SamplingParams(),
        deadline_ms=seconds * 1000 + life_ms,
    )  # fmt: skip
    args = scripts.AdmitArgs(
        rid=rid, attempt=1, web=body.web, key_id="k", key_epoch=0, catalog_epoch=0, epoch="",
        rules=[("budget", *scripts.rule_keys("budget", "key:k"), 1000)], reserve=5,
        deadline=body.deadline_ms, queue_entries=100, queue_bytes=10**6, usage_entries=100,
    )  # fmt: skip
    reply = scripts.run(r, scripts.admit(args, QUEUE, body, Bill(key_id="k")))
    assert scripts.text(reply[0]) == "OK"


def deliver(r, engine: str) -> None:
    r.sadd(redis_keys.QUEUES, QUEUE)
    r.xgroup_create(QUEUE, redis_keys.QUEUE_GROUP, id="0", mkstream=True)
    r.xreadgroup(redis_keys.QUEUE_GROUP, engine, {QUEUE: ">"})


@pytest.fixture
def steady_judge(redis_url):
    """A judge that has seen Redis well for long enough."""
    judge = Judge(redis_url)
    judge._link._well_since = -1e9
    return judge


def beat(r, *, age_ms: int) -> None:
    message = EngineBeat(engine="e", model="m", state=EngineState.READY, step_age_ms=age_ms)
    r.set(redis_keys.engine_beat("e"), pack(message), px=3000)


def test_an_engine_without_a_heartbeat_loses_its_requests(r, steady_judge):
    enqueue(r, "a")
    deliver(r, "e")
    assert steady_judge.look() == 1
    entry = scripts.read_entry(r.hget(redis_keys.OPEN, "a"))
    assert (entry.state, entry.deaths, entry.engine) == ("lost", 1, "e")
    assert r.xlen(QUEUE) == 0
    assert r.xlen(redis_keys.reply("gone-web")) == 1


@pytest.mark.parametrize(("age_ms", "judged"), [(9_000, 0), (11_000, 1)])
def test_a_hung_engine_is_judged_a_slow_one_is_not(r, steady_judge, age_ms, judged):
    enqueue(r, "a")
    deliver(r, "e")
    beat(r, age_ms=age_ms)
    assert steady_judge.look() == judged


def stand_in(redis_url: str) -> StandIn:
    """One for which the lock has been free, and Redis well, for long enough."""
    judge = StandIn(redis_url)
    judge._link._well_since = judge._taken_at = -1e9
    judge.stop()  # its turns do not wait
    return judge


def test_a_web_process_judges_while_no_settle_process_does(r, redis_url):
    enqueue(r, "a")
    deliver(r, "e")
    stand_in(redis_url)._turn()
    (event,) = usage(r)  # its web process is gone too: the reconciler ended it
    assert (event.finish, event.engine) == (Finish.LOST, "e")
    assert r.get(redis_keys.JUDGE_LOCK) is None  # free for a settle process that comes back


def test_a_web_process_leaves_judging_to_settle_processes(r, redis_url):
    enqueue(r, "a")
    deliver(r, "e")
    settler, web = Judge(redis_url), stand_in(redis_url)
    assert settler._hold_lock()
    web._turn()
    r.delete(redis_keys.JUDGE_LOCK)  # it was killed just now; another one may be quicker
    web._turn()
    assert scripts.read_entry(r.hget(redis_keys.OPEN, "a")).state == "queued"


def test_after_an_outage_nobody_is_judged_at_once(r, redis_url):
    enqueue(r, "a")
    deliver(r, "e")
    assert Judge(redis_url).look() == 0


def test_a_lost_request_without_a_web_process_is_ended_by_the_reconciler(
    r, redis_url, steady_judge
):
    enqueue(r, "a")
    deliver(r, "e")
    steady_judge.look()
    assert Reconciler(RedisLink(redis_url)).run() == 1
    (event,) = usage(r)
    assert (event.finish, event.error) == (Finish.LOST, "EngineLost")
    assert r.hlen(redis_keys.OPEN) == 0
    assert r.get(redis_keys.limit("held", "key:k")) is None


def test_an_entry_past_its_deadline_is_ended_wherever_it_is(r, redis_url):
    enqueue(r, "queued", life_ms=-61_000)
    enqueue(r, "young")
    assert Reconciler(RedisLink(redis_url)).run() == 1
    assert [event.rid for event in usage(r)] == ["queued"]
    assert r.xlen(QUEUE) == 1
    assert r.hkeys(redis_keys.OPEN) == [b"young"]


def test_a_late_terminal_of_a_judged_engine_is_told_to_keep_quiet(r, steady_judge):
    enqueue(r, "a")
    sid = scripts.read_entry(r.hget(redis_keys.OPEN, "a")).sid
    deliver(r, "e")
    steady_judge.look()
    late = scripts.Ending(
        rid="a", attempt=1, web="gone-web", finish=Finish.STOP, who="owner", sid=sid, engine="e"
    )
    assert scripts.run(r, scripts.terminal(late)) == 0
    assert usage(r) == []


def test_an_engine_that_starts_again_under_its_old_name_gives_up_what_it_held(r, engine_of):
    enqueue(r, "a")
    deliver(r, "e1")
    engine_of("e1").stop()
    assert scripts.read_entry(r.hget(redis_keys.OPEN, "a")).state == "lost"


async def test_an_end_that_a_crashed_redis_forgot_is_told_again(r, engine_of, client_of):
    engine_of(step_delay_s=0.01)
    client = await client_of()
    async with client.submit(admission(tokens=20)) as stream:
        await stream.started()
        before = {key: r.dump(key) for key in (QUEUE, redis_keys.OPEN)}
        await stream.whole()
    for key, value in before.items():
        r.restore(key, 0, value, replace=True)
    r.delete(redis_keys.USAGE)
    r.client_kill_filter(_type="normal")
    (event,) = await soon(lambda: usage(r), what="the second terminal")
    assert (event.rid, event.counts) == (stream.rid, stream.counts)
    assert r.hlen(redis_keys.OPEN) == r.xlen(QUEUE) == 0


async def test_an_abort_in_a_reply_that_never_came_is_obeyed(r, engine_of, client_of):
    engine = engine_of(step_delay_s=0.01, max_num_seqs=1)
    client = await client_of()
    async with client.submit(admission(tokens=100_000)) as stream:
        await stream.started()
        control = redis_keys.control("e1")
        abort = Control(kind=ControlKind.ABORT, rid=stream.rid, attempt=1)
        pipeline = r.pipeline(transaction=True)  # the engine's reader gets no chance in between
        pipeline.xadd(control, {"m": pack(abort)})
        pipeline.xreadgroup(redis_keys.QUEUE_GROUP, "e1", {control: ">"})
        pipeline.execute()
        assert engine.core.gauges().running == 1
        r.client_kill_filter(_type="normal")
        await soon(lambda: engine.core.gauges().running == 0, what="abort")


@pytest.mark.parametrize("fields", [{"x": "y"}, {"rid": "a", "attempt": "b", "web": "w"}])
async def test_junk_in_a_queue_harms_nobody(r, engine_of, client_of, fields):
    engine_of("e1")
    client = await client_of()
    r.xadd(QUEUE, fields)
    async with client.submit(admission()) as stream:
        await asyncio.wait_for(stream.whole(), LIMIT_S)
    await soon(lambda: r.xlen(QUEUE) == 0, what="removal")


async def test_bytes_that_are_no_text_stop_neither_reader_nor_writer(r, engine_of, client_of):
    engine_of("e1")
    client = await client_of()
    junk = b"\xa1\xff"
    r.xadd(QUEUE, {"rid": "a", "attempt": "1", "web": "w", "body": junk, "bill": junk})
    await soon(lambda: any(g["pending"] for g in r.xinfo_groups(QUEUE)), what="delivery")
    async with client.submit(admission()) as stream:
        assert await asyncio.wait_for(stream.whole(), LIMIT_S)
    r.set(redis_keys.EPOCH, "another")  # usage without a ledger is written now: an empty bill's too
    await soon(lambda: [e for e in usage(r) if e.rid == "a"], what="the junk's usage")
    await soon(lambda: client._state.epoch == "another", what="the new epoch at the client")
    async with client.submit(admission()) as stream:
        assert await asyncio.wait_for(stream.whole(), LIMIT_S)


@pytest.mark.parametrize("fields", [{"x": "y"}, {"rid": b"\xff", "attempt": "1", "web": "w"}])
def test_junk_held_by_a_dead_engine_does_not_stop_the_judge(r, steady_judge, fields):
    r.xadd(QUEUE, fields)
    enqueue(r, "a")
    deliver(r, "e")
    assert steady_judge.look() == 2
    assert scripts.read_entry(r.hget(redis_keys.OPEN, "a")).state == "lost"
    assert r.xlen(QUEUE) == 0


async def test_requests_of_a_dead_web_process_are_aborted(r, engine_of, client_of):
    engine = engine_of(step_delay_s=0.01)
    client = await client_of()
    async with client.submit(admission(tokens=100_000)) as stream:
        await stream.started()
        for task in client._tasks:
            task.cancel()  # the process is gone
        await soon(lambda: usage(r), what="usage")
        (event,) = usage(r)
    assert (event.rid, event.finish) == (stream.rid, Finish.CANCELLED)
    assert event.counts.completion_tokens > 0
    assert engine.core.gauges().running == 0


async def test_when_redis_loses_its_data_the_engine_writes_usage_without_the_ledger(
    r, engine_of, client_of
):
    engine = engine_of(step_delay_s=0.01)
    client = await client_of()
    changes: list[None] = []
    client._on_redis_back = lambda: changes.append(None)
    async with client.submit(admission(tokens=100_000)) as stream:
        await stream.started()
        seen = lambda: engine.transport._epoch and client._state.epoch  # noqa: E731
        await soon(seen, what="the first epoch at both sides")
        r.flushall()
        with pytest.raises(Overloaded):
            async for _ in stream:
                pass
        await soon(lambda: usage(r), what="usage")
    (event,) = usage(r)
    assert event.rid == stream.rid
    assert event.bill["key_id"] == "k"
    await soon(lambda: changes, what="the client's notice")
    assert changes == [None]
    again = admission(tokens=4)
    async with client.submit(again) as stream:
        assert await asyncio.wait_for(stream.whole(), LIMIT_S)
