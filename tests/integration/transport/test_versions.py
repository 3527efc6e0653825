"""Old and new builds side by side, as during an upgrade: they work or refuse, and never misread.

The other build is this one with other version numbers in what it writes.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from apps.models.health import EngineWatch, Placement
from apps.usage.judge import Judge
from apps.usage.models import UsageRecord
from apps.usage.settler import Settler
from engine import redis_keys, scripts, transport
from engine.errors import Overloaded
from engine.messages import (
    WIRE_VERSION,
    Control,
    ControlKind,
    Counts,
    EngineBeat,
    EngineState,
    Finish,
    Frame,
    Message,
    OtherVersion,
    UsageEvent,
    WebBeat,
    WireMismatch,
    pack,
    unpack,
)
from tests.integration.transport.conftest import admission
from tests.integration.transport.waiting import soon

OTHER = WIRE_VERSION + 1
EVENT = UsageEvent(rid="a", finish=Finish.STOP, counts=Counts(), bill={"key_id": "k"})
BEAT = EngineBeat(engine="e", model="m", state=EngineState.READY)


def of_other(message: Message) -> bytes:
    """The message as the other build writes it: the same but for the version."""
    found = msgspec.msgpack.decode(pack(message))
    found[0 if isinstance(found, list) else "version"] = OTHER
    return msgspec.msgpack.encode(found)


@pytest.mark.parametrize(
    "message",
    [
        EVENT,
        BEAT,
        Control(kind=ControlKind.DRAIN),
        WebBeat(web="w"),
        Frame(engine="e", deltas=[]),
        admission().body,
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_message_names_its_version_and_is_refused_by_another(message):
    assert unpack(type(message), pack(message)) == message
    with pytest.raises(OtherVersion, match=rf"version {OTHER}; this build reads {WIRE_VERSION}"):
        unpack(type(message), of_other(message))


def test_garbage_is_not_taken_for_another_version():
    for data in (
        b"",
        b"\xc1",
        b"\x90",
        b"\x91\xa1x",
        b"\x80",
        b"\x01",
        b"\xa1\xff",
        b"\x91" * 9999,
    ):
        with pytest.raises(WireMismatch) as refused:
            unpack(UsageEvent, data)
        assert not isinstance(refused.value, OtherVersion)


def test_lua_writes_the_version_python_reads():
    text = (Path(scripts.__file__).parent / "lua" / "common.lua").read_text(encoding="utf-8")
    assert re.findall(r"version = (\d+)", text) == [str(WIRE_VERSION)]


async def test_an_engine_refuses_requests_of_another_web_process(
    r, engine_of, client_of, monkeypatch
):
    engine = engine_of()
    client = await client_of()
    monkeypatch.setattr(
        scripts, "pack", lambda m: of_other(m) if isinstance(m, Message) else pack(m)
    )
    with pytest.raises(Overloaded, match="another version"):
        async with client.submit(admission()) as stream:
            await stream.started()
    monkeypatch.undo()
    assert engine.core.gauges().running == 0
    await soon(lambda: r.xlen(redis_keys.USAGE) == 1, what="the usage event")
    ((_, fields),) = r.xrange(redis_keys.USAGE)
    assert unpack(UsageEvent, fields[b"e"]).counts.completion_tokens == 0
    assert r.hlen(redis_keys.OPEN) == 0
    async with client.submit(admission()) as stream:  # those of its own version go on
        assert await stream.whole()


async def test_a_web_process_shows_nothing_of_another_engine_s_answer(
    r, engine_of, client_of, monkeypatch
):
    engine_of()
    client = await client_of(queue_wait_s=1)
    monkeypatch.setattr(
        transport, "pack", lambda m: of_other(m) if isinstance(m, Frame) else pack(m)
    )
    with pytest.raises(Overloaded):
        async with client.submit(admission()) as stream:
            await stream.started()
    await soon(lambda: r.xlen(redis_keys.USAGE) == 1, what="the usage event")
    assert r.hlen(redis_keys.OPEN) == 0


@pytest.mark.django_db(transaction=True)
def test_a_usage_event_of_another_version_waits_for_its_settler(r, redis_url):
    settler = Settler(redis_url, dead_after_ms=1)
    settler._ensure_group()
    r.xadd(redis_keys.USAGE, {"e": of_other(EVENT)})
    r.xadd(redis_keys.USAGE, {"e": pack(EVENT)})
    settler.turn()
    settler._settle_unacknowledged()
    settler._leave()
    assert [row.rid for row in UsageRecord.objects.all()] == ["a"]
    assert r.xlen(redis_keys.USAGE) == 1
    (held,) = r.xpending_range(redis_keys.USAGE, redis_keys.USAGE_GROUP, "-", "+", 10)
    assert held["message_id"] == r.xrange(redis_keys.USAGE)[0][0]


async def test_an_engine_of_another_version_is_not_ready_and_not_dead(r, redis_url):
    r.set(redis_keys.engine_beat("e"), of_other(BEAT), px=60_000)

    async def placed(_):
        return Placement(frozenset({"m"}), ("e",), frozenset({"e"}))

    assert not (await EngineWatch(lambda: redis_url, placed).look()).healthy
    assert not Judge(redis_url)._is_dead(r, "e")
