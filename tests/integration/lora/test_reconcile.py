"""What the agent tells engines, and what it makes of their heartbeats. The engines are heartbeats
that the test writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import pytest
import redis

from apps.lora import reconcile, services, store
from apps.lora.models import Adapter, AdapterVersion, VersionState
from apps.lora.reconcile import AdapterReconciler
from apps.models.models import EngineInstance, Host, ServedModel, State
from apps.models.selectors import catalog_read
from engine import redis_keys
from engine.messages import (
    AdapterBeat,
    AdapterState,
    Bill,
    Control,
    ControlKind,
    EngineBeat,
    EngineState,
    pack,
    unpack,
)
from tests.integration.lora.conftest import added

A, B = "a" * 64, "b" * 64
LOAD, UNLOAD = ControlKind.LOAD_ADAPTER, ControlKind.UNLOAD_ADAPTER


@dataclass
class Fleet:
    """Engines as the agent sees them."""

    client: redis.Redis[bytes]
    agent: AdapterReconciler
    now: list[float] = field(default_factory=lambda: [0.0])
    engines: list[str] = field(default_factory=list)

    def engine(self, base: ServedModel, host: str = "node") -> str:
        name = f"e{len(self.engines)}"
        place = Host.objects.get_or_create(name=host)[0]
        EngineInstance.objects.create(
            model=base, replica=len(self.engines), host=place, engine_id=name, state=State.READY
        )
        self.engines.append(name)
        self.beat(name)
        return name

    def beat(self, engine: str, *adapters: AdapterBeat) -> None:
        beat = EngineBeat(
            engine=engine, model="demo", state=EngineState.READY, adapters=list(adapters)
        )
        self.client.set(redis_keys.engine_beat(engine), pack(beat))

    def turn(self, later_s: float = 2.0) -> None:
        self.now[0] += later_s
        self.agent.turn()

    def told(self, engine: str) -> list[tuple[ControlKind, str]]:
        """Control messages since the last look."""
        key = redis_keys.control(engine)
        messages = [unpack(Control, fields[b"m"]) for _, fields in self.client.xrange(key)]
        self.client.delete(key)
        return [(m.kind, m.adapter.digest if m.adapter else "") for m in messages]


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    client = redis.Redis.from_url(redis_url)
    made = Fleet(client, AdapterReconciler(client, "node"))
    made.agent.clock = lambda: made.now[0]
    yield made
    client.close()


def ready(digest: str, name: str = "pirate", **more: object) -> AdapterBeat:
    return AdapterBeat(digest=digest, name=name, state=AdapterState.READY, **more)  # type: ignore[arg-type]


def state_of(version: AdapterVersion) -> str:
    version.refresh_from_db()
    return version.state


def test_without_adapters_a_turn_is_one_small_look(
    fleet: Fleet, base: ServedModel, django_assert_max_num_queries: object
) -> None:
    engine = fleet.engine(base)
    with django_assert_max_num_queries(2):  # type: ignore[operator]
        fleet.turn()
    assert fleet.told(engine) == []


def test_wanted_adapter_is_loaded_and_its_name_begins_when_all_engines_have_it(
    fleet: Fleet, base: ServedModel
) -> None:
    first, second = fleet.engine(base), fleet.engine(base)
    version = added("pirate", A)
    fleet.turn()
    assert fleet.told(first) == fleet.told(second) == [(LOAD, A)]
    assert fleet.agent.busy
    fleet.beat(first, ready(A))
    fleet.turn()
    assert state_of(version) == VersionState.LOADING
    assert "pirate" not in catalog_read().models
    fleet.beat(second, ready(A))
    fleet.turn()
    assert state_of(version) == VersionState.READY
    assert catalog_read().models["pirate"].adapter_digest == A
    epoch = catalog_read().epoch
    fleet.told(first), fleet.told(second)
    fleet.turn()
    assert fleet.told(first) == fleet.told(second) == []
    assert (catalog_read().epoch, fleet.agent.busy) == (epoch, False)


def test_message_names_the_store_and_the_pin(fleet: Fleet, base: ServedModel) -> None:
    engine = fleet.engine(base)
    added("pirate", A, pinned=True)
    fleet.turn()
    ((_, fields),) = fleet.client.xrange(redis_keys.control(engine))
    source = unpack(Control, fields[b"m"]).adapter
    assert source is not None
    assert (source.name, source.pinned) == ("pirate", True)
    assert source.path == str(store.stored_folder(A))


def test_engines_of_other_hosts_are_counted_and_told_by_their_own_agent(
    fleet: Fleet, base: ServedModel
) -> None:
    here, there = fleet.engine(base), fleet.engine(base, host="other")
    version = added("pirate", A)
    fleet.turn()
    assert fleet.told(here) == [(LOAD, A)]
    assert fleet.told(there) == []
    fleet.beat(here, ready(A))
    fleet.turn()
    assert state_of(version) == VersionState.LOADING


def test_new_engine_gets_what_the_others_have_and_the_name_stays(
    fleet: Fleet, base: ServedModel
) -> None:
    fleet.beat(fleet.engine(base), ready(A))
    version = added("pirate", A)
    fleet.turn()
    assert state_of(version) == VersionState.READY
    late = fleet.engine(base)
    fleet.turn()
    assert fleet.told(late) == [(LOAD, A)]
    assert state_of(version) == VersionState.READY
    assert "pirate" in catalog_read().models


def test_changed_pin_is_told(fleet: Fleet, base: ServedModel) -> None:
    engine = fleet.engine(base)
    added("pirate", A)
    fleet.beat(engine, ready(A))
    fleet.turn()
    services.adapter_pin(name="pirate", pinned=True)
    fleet.turn()
    assert fleet.told(engine) == [(LOAD, A)]
    fleet.beat(engine, ready(A, pinned=True))
    fleet.turn()
    assert fleet.told(engine) == []


def test_unloaded_adapter_leaves_when_no_open_request_names_it(
    fleet: Fleet, base: ServedModel
) -> None:
    engine = fleet.engine(base)
    version = added("pirate", A)
    fleet.beat(engine, ready(A))
    fleet.turn()
    bill = msgspec.to_builtins(Bill(key_id="k", adapter="pirate", adapter_digest=A))
    entry = {"attempt": 1, "state": "queued", "queue": "q", "sid": "1-0", "web": "w"}
    entry |= {"deadline": 1, "reserve": 0, "bill": bill}
    fleet.client.hset(redis_keys.OPEN, "rid", msgspec.msgpack.encode(entry))
    services.adapter_unload(name="pirate")
    fleet.turn()
    assert fleet.told(engine) == []
    fleet.client.hdel(redis_keys.OPEN, "rid")
    fleet.turn()
    assert fleet.told(engine) == [(UNLOAD, A)]
    assert state_of(version) == VersionState.DRAINING
    fleet.beat(engine)
    fleet.turn()
    assert state_of(version) == VersionState.UNLOADED


def test_engine_that_knows_more_than_it_should_is_told_to_forget(
    fleet: Fleet, base: ServedModel
) -> None:
    """As after a restore of an older database."""
    engine = fleet.engine(base)
    fleet.beat(engine, ready(A))
    fleet.turn()
    assert fleet.told(engine) == [(UNLOAD, A)]


def test_content_that_two_names_share_stays_while_one_is_loaded(
    fleet: Fleet, base: ServedModel
) -> None:
    engine = fleet.engine(base)
    first, _ = added("pirate", A), added("corsair", A)
    fleet.beat(engine, ready(A, name="corsair"))
    fleet.turn()
    fleet.turn()
    assert set(catalog_read().models) == {"demo", "pirate", "corsair"}
    services.adapter_unload(name="pirate")
    fleet.turn()
    assert fleet.told(engine) == []
    assert state_of(first) == VersionState.UNLOADED
    assert set(catalog_read().models) == {"demo", "corsair"}


def test_failure_is_believed_at_the_second_try_and_tried_again_later(
    fleet: Fleet, base: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = fleet.engine(base)
    version = added("pirate", A)
    failed = AdapterBeat(
        digest=A, name="pirate", state=AdapterState.FAILED, cause="The disk is gone."
    )
    fleet.beat(engine, failed)
    fleet.turn()
    assert fleet.told(engine) == [(LOAD, A)]
    assert state_of(version) == VersionState.LOADING
    fleet.turn(4.0)
    assert state_of(version) == VersionState.FAILED
    assert "The disk is gone." in version.cause
    assert version.fix
    fleet.turn()
    assert fleet.told(engine) == [(UNLOAD, A)]
    fleet.beat(engine)
    fleet.turn()
    assert fleet.told(engine) == []
    monkeypatch.setattr(reconcile, "RETRY_AFTER", timedelta(0))
    fleet.turn()
    assert state_of(version) == VersionState.LOADING
    fleet.turn()
    assert fleet.told(engine) == [(LOAD, A)]
    fleet.beat(engine, ready(A))
    fleet.turn()
    assert state_of(version) == VersionState.READY


def test_version_in_use_that_fails_keeps_the_name_and_is_tried_again(
    fleet: Fleet, base: ServedModel
) -> None:
    engine = fleet.engine(base)
    version = added("pirate", A)
    fleet.beat(engine, ready(A))
    fleet.turn()
    fleet.beat(engine, AdapterBeat(digest=A, name="pirate", state=AdapterState.FAILED))
    fleet.turn()
    fleet.turn(4.0)
    assert state_of(version) == VersionState.FAILED
    assert "pirate" in catalog_read().models


def test_replacement_switches_and_the_old_version_goes(fleet: Fleet, base: ServedModel) -> None:
    engine = fleet.engine(base)
    old = added("pirate", A)
    fleet.beat(engine, ready(A))
    fleet.turn()
    new = added("pirate", B)
    fleet.turn()
    assert fleet.told(engine) == [(LOAD, B)]
    fleet.beat(engine, ready(A), ready(B))
    fleet.turn()
    assert Adapter.objects.get().current == new
    fleet.turn()
    assert fleet.told(engine) == [(UNLOAD, A)]
    fleet.beat(engine, ready(B))
    fleet.turn()
    assert (state_of(old), state_of(new)) == (VersionState.UNLOADED, VersionState.READY)


def test_adapter_of_a_sleeping_base_waits_without_haste(fleet: Fleet, base: ServedModel) -> None:
    added("pirate", A)
    fleet.turn()
    assert not fleet.agent.busy


def test_model_without_adapters_fails_them_with_the_fix_until_it_takes_them(
    fleet: Fleet, base: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "RETRY_AFTER", timedelta(0))
    fleet.engine(base)
    version = added("pirate", A)
    ServedModel.objects.update(engine_options={"enable_lora": False})
    fleet.turn()
    fleet.turn()
    assert state_of(version) == VersionState.FAILED
    assert "enable_lora" in version.fix
    ServedModel.objects.update(engine_options={})
    fleet.turn()
    assert state_of(version) == VersionState.LOADING


def test_message_is_not_repeated_before_a_heartbeat_can_tell(
    fleet: Fleet, base: ServedModel
) -> None:
    engine = fleet.engine(base)
    added("pirate", A)
    fleet.turn()
    fleet.turn(0.1)
    fleet.turn(0.1)
    assert fleet.told(engine) == [(LOAD, A)]
    fleet.turn(2.0)  # it was lost: the engine started anew
    assert fleet.told(engine) == [(LOAD, A)]
