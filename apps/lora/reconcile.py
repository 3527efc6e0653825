"""Closes the difference between wanted adapters and what engines have. Idempotent.

The agent calls `turn` after its own. What is wanted is read from the database, what is from the
heartbeats; control messages may be sent again, engines take them as they come. Every agent sees
the engines of all hosts, so that a version counts as ready when all of them have it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import redis
from django.db.models import F, Q
from django.utils import timezone
from msgspec import DecodeError

from apps.lora import services, store
from apps.lora.models import IN_ENGINES, AdapterVersion, VersionState
from apps.models.models import Desired, EngineInstance, State
from engine import redis_keys, scripts
from engine.messages import (
    AdapterBeat,
    AdapterSource,
    AdapterState,
    Control,
    ControlKind,
    EngineBeat,
    EngineState,
    WireMismatch,
    pack,
    unpack,
)

log = logging.getLogger(__name__)
RETRY_AFTER = timedelta(seconds=30)
LEDGER_EVERY_S = 1.0
CONTROL_TTL_S = 3600
SENT_AGAIN_S = 1.5  # a heartbeat has told of the last message by then
RETRIED_S = 3.0


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine with its heartbeat."""

    base_id: int
    host: str
    beat: EngineBeat
    adapters: dict[str, AdapterBeat]

    @property
    def takes_requests(self) -> bool:
        return self.beat.state == EngineState.READY


@dataclass(slots=True)
class AdapterReconciler:
    """One per agent. `busy` asks the agent to turn more often: somebody waits for an adapter."""

    client: redis.Redis
    host: str
    clock: Callable[[], float] = time.monotonic
    busy: bool = False
    _asked_ledger_at: float = float("-inf")
    _in_use: frozenset[str] = frozenset()
    _sent: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _retried: dict[tuple[str, str], float] = field(default_factory=dict)

    def turn(self) -> None:
        """Two SQL queries and one read of Redis when nothing has to change; one query without
        any adapter in engines."""
        versions = list(_versions_in_engines())
        engines = _engines(self.client)
        if not versions and not any(engine.adapters for engine in engines):
            self.busy = False
            return
        for engine in engines:
            if engine.host == self.host and engine.takes_requests:
                self._close(engine, [v for v in versions if v.adapter.base_id == engine.base_id])
        for version in versions:
            there = [e for e in engines if e.base_id == version.adapter.base_id]
            shared = any(_is_wanted(v) and v.digest == version.digest for v in versions)
            self._follow(version, there, shared)
        bases = {engine.base_id for engine in engines}
        self.busy = any(
            v.state == VersionState.LOADING and v.adapter.base_id in bases for v in versions
        )

    def _close(self, engine: Engine, versions: list[AdapterVersion]) -> None:
        """Send what makes one engine's adapters the wanted ones."""
        wanted: dict[str, AdapterSource] = {}
        for version in versions:
            if _is_wanted(version):
                known = wanted.get(version.digest)
                wanted[version.digest] = AdapterSource(
                    digest=version.digest,
                    name=version.adapter.name,
                    path=str(store.stored_folder(version.digest)),
                    pinned=version.adapter.pinned or bool(known and known.pinned),
                )
        for digest, source in wanted.items():
            beat = engine.adapters.get(digest)
            if beat is not None and beat.state == AdapterState.FAILED:
                self._retry(engine, source)
            elif not _agrees(beat, source):
                self._send(engine, ControlKind.LOAD_ADAPTER, source)
        for digest, beat in engine.adapters.items():
            if digest in wanted or beat.state == AdapterState.DRAINING:
                continue
            if beat.state == AdapterState.FAILED or digest not in self._used():
                source = AdapterSource(digest=digest, name=beat.name)
                self._send(engine, ControlKind.UNLOAD_ADAPTER, source)

    def _follow(self, version: AdapterVersion, engines: list[Engine], shared: bool) -> None:
        """Move a version's state to what its engines tell. `shared`: another name wants the same
        content, so that it stays in the engines."""
        move = partial(services.version_move, version=version, was=(version.state,))
        if not version.adapter.possible and version.state != VersionState.DRAINING:
            if version.state != VersionState.FAILED:
                cause = services.WITHOUT.format(version.adapter.base.name)
                move(to=VersionState.FAILED, cause=cause, fix=services.WITHOUT_FIX)
        elif version.state == VersionState.DRAINING:
            if shared or not any(version.digest in engine.adapters for engine in engines):
                move(to=VersionState.UNLOADED)
        elif version.state == VersionState.FAILED:
            if version.since < timezone.now() - RETRY_AFTER:
                move(to=VersionState.LOADING)
        elif cause := self._failure(version.digest, engines):
            fix = f"It is tried again every {RETRY_AFTER.seconds} s while it is wanted."
            move(to=VersionState.FAILED, cause=f"An engine could not load it: {cause}", fix=fix)
            log.error("adapter_failed", extra={"adapter": version.adapter.name, "cause": cause})
        elif _ready_everywhere(version.digest, engines):
            if version.adapter.target_id == version.pk != version.adapter.current_id:
                services.version_switch(version=version)
            elif version.state == VersionState.LOADING:
                move(to=VersionState.READY)

    def _retry(self, engine: Engine, source: AdapterSource) -> None:
        """A failure in a heartbeat may be an old one: try once before it is believed."""
        key = (engine.beat.engine, source.digest)
        if key not in self._retried:
            self._retried[key] = self.clock()
            self._send(engine, ControlKind.LOAD_ADAPTER, source)

    def _failure(self, digest: str, engines: list[Engine]) -> str:
        """Why an engine cannot load it, also at the second try; empty if none failed."""
        for engine in engines:
            beat = engine.adapters.get(digest)
            if beat is None or beat.state != AdapterState.FAILED:
                self._retried.pop((engine.beat.engine, digest), None)
                continue
            tried = self._retried.get((engine.beat.engine, digest), float("-inf"))
            if engine.host != self.host or self.clock() - tried > RETRIED_S:
                self._retried.pop((engine.beat.engine, digest), None)
                return beat.cause or "It gave no reason."
        return ""

    def _used(self) -> frozenset[str]:
        """Digests that open requests name. Such an adapter stays until the last of them ended:
        some may still wait in the queue, where the engine does not know them."""
        now = self.clock()
        if now - self._asked_ledger_at >= LEDGER_EVERY_S:
            self._asked_ledger_at = now
            self._in_use = frozenset(_open_digests(self.client))
        return self._in_use

    def _send(self, engine: Engine, kind: ControlKind, source: AdapterSource) -> None:
        now, sent = self.clock(), (engine.beat.engine, source.digest, str(kind))
        if now - self._sent.get(sent, float("-inf")) < SENT_AGAIN_S:
            return
        self._sent = {key: at for key, at in self._sent.items() if now - at < SENT_AGAIN_S}
        self._sent[sent] = now
        key = redis_keys.control(engine.beat.engine)
        self.client.xadd(key, {"m": pack(Control(kind=kind, adapter=source))})
        self.client.expire(key, CONTROL_TTL_S)


def beats_of(client: redis.Redis, engine_ids: Iterable[str]) -> list[EngineBeat]:
    """The heartbeats there are. One read."""
    keys = [redis_keys.engine_beat(engine) for engine in engine_ids]
    beats = []
    found: list[Any] = list(client.mget(keys)) if keys else []
    for data in found:
        try:
            beats.append(unpack(EngineBeat, data or b""))
        except WireMismatch:
            continue  # gone, or of another version
    return beats


def _versions_in_engines() -> Iterable[AdapterVersion]:
    """What is or should be in engines: also what failed there and is wanted."""
    wanted = Q(adapter__target=F("pk")) | Q(adapter__current=F("pk"))
    retried = Q(state=VersionState.FAILED, adapter__desired=Desired.LOADED) & wanted
    rows = AdapterVersion.objects.exclude(digest="").filter(Q(state__in=IN_ENGINES) | retried)
    return rows.select_related("adapter__base")


def _engines(client: redis.Redis) -> list[Engine]:
    rows = EngineInstance.objects.filter(state__in=(State.READY, State.DRAINING)).select_related(
        "host"
    )
    by_id = {row.engine_id: row for row in rows}
    return [
        Engine(
            by_id[beat.engine].model_id,
            by_id[beat.engine].host.name,
            beat,
            {a.digest: a for a in beat.adapters},
        )
        for beat in beats_of(client, by_id)
    ]


def _is_wanted(version: AdapterVersion) -> bool:
    return version.state in (VersionState.LOADING, VersionState.READY)


def _ready_everywhere(digest: str, engines: list[Engine]) -> bool:
    """Whether every engine that takes requests has it, and there is one."""
    beats = [engine.adapters.get(digest) for engine in engines if engine.takes_requests]
    return bool(beats) and all(b is not None and b.state == AdapterState.READY for b in beats)


def _agrees(beat: AdapterBeat | None, source: AdapterSource) -> bool:
    if beat is None or beat.state == AdapterState.DRAINING:
        return False
    return (beat.name, beat.pinned) == (source.name, source.pinned)


def _open_digests(client: redis.Redis) -> Iterable[str]:
    for _, packed in client.hscan_iter(redis_keys.OPEN, count=500):
        try:
            digest = scripts.read_entry(packed).bill.get("adapter_digest", "")
        except DecodeError:
            continue
        if digest:
            yield scripts.text(digest)
