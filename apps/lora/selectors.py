"""Reads of adapters: rows with what engines tell of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from django.db import connection
from django.db.models import QuerySet
from redis.exceptions import RedisError

from apps.api.selectors import KeySnapshot
from apps.lora.models import CHECKING, Adapter, AdapterVersion, VersionState
from apps.lora.reconcile import beats_of
from apps.models.models import Desired, EngineInstance
from engine.errors import InvalidRequest, ModelNotFound, Overloaded
from engine.messages import AdapterBeat
from inference_site.redis import redis_url

POLL_S = 0.05
NEAREST = ("slot", "host", "disk")


@dataclass(frozen=True, slots=True)
class Placed:
    """One adapter version in one engine."""

    engine: str
    beat: AdapterBeat


Placements = Mapping[str, tuple[Placed, ...]]  # by digest


def adapters_listed() -> QuerySet[Adapter]:
    """All adapters with base and versions, in two queries."""
    rows = Adapter.objects.select_related("base", "current", "target")
    return rows.prefetch_related("versions")


def adapter_for_key(key: KeySnapshot, name: str) -> Adapter:
    """Raises `ModelNotFound` also for one the key may not use."""
    adapter = adapters_listed().filter(name=name).first() if key.may_use(name) else None
    if adapter is None:
        raise ModelNotFound(f"The adapter {name[:200]!r} does not exist.", param="name")
    return adapter


def placements_read() -> Placements:
    """What engines hold, from their heartbeats. Empty while Redis is away. One query."""
    engines = list(EngineInstance.objects.values_list("engine_id", flat=True))
    found: dict[str, tuple[Placed, ...]] = {}
    try:
        with redis.Redis.from_url(redis_url(), socket_timeout=2) as client:
            for beat in beats_of(client, engines):
                for adapter in beat.adapters:
                    here = (Placed(beat.engine, adapter),)
                    found[adapter.digest] = found.get(adapter.digest, ()) + here
    except RedisError:
        return {}
    return found


def residency(placed: Iterable[Placed]) -> str:
    """The nearest place to the computation over all engines; empty when no engine has it."""
    places = {str(one.beat.residency) for one in placed}
    return next((place for place in NEAREST if place in places), "")


def newest_interest(adapter: Adapter) -> AdapterVersion | None:
    """The version whose state says most: one on its way, else the current, else the newest.

    Reads `versions`, newest first: prefetch them for lists.
    """
    versions = list(adapter.versions.all())
    for version in versions:
        moving = (*CHECKING, VersionState.LOADING)
        if version.state in moving and (adapter.current_id is None or version.activates):
            return version
    return adapter.current or adapter.target or (versions[0] if versions else None)


def adapter_state(adapter: Adapter) -> VersionState:
    """One word for an adapter. Reads `versions`."""
    if adapter.desired == Desired.UNLOADED:
        states = {version.state for version in adapter.versions.all()}
        for state in (*CHECKING, VersionState.DRAINING):
            if state in states:
                return state
        valid = any(version.digest for version in adapter.versions.all())
        return VersionState.UNLOADED if valid or not states else VersionState.FAILED
    version = newest_interest(adapter)
    return VersionState.REGISTERED if version is None else VersionState(version.state)


def version_await(version_id: int, *, name: str, within_s: float) -> bool:
    """Wait until a version was checked and, if it takes the name, is usable on every engine.

    False when that takes longer. Raises `InvalidRequest` with all problems if it was refused,
    or when somebody unloaded the adapter meanwhile.
    """

    def settled() -> bool:
        version = AdapterVersion.objects.filter(pk=version_id).first()
        if version is None:  # the same content was there already
            return _usable(name)
        if version.state == VersionState.FAILED:
            raise InvalidRequest(words_of(version), param="source")
        if version.state in CHECKING:
            return False
        return not version.activates or _usable(name, version_id)

    return _poll(settled, within_s)


def load_await(name: str, *, within_s: float) -> bool:
    """Wait until the version a loaded adapter should stand for is usable on every engine."""
    return _poll(lambda: _usable(name), within_s)


def still_on_its_way(adapter: Adapter) -> Overloaded:
    """Why a load has not finished yet."""
    where = f"no engine of {adapter.base.name!r} is ready" if not _has_engine(adapter) else (
        "it goes on in the background"
    )  # fmt: skip
    return Overloaded(
        f"The adapter {adapter.name!r} is not usable yet: {where}. Ask again.",
        param="adapter",
        retry_after_s=5,
    )


def words_of(version: AdapterVersion) -> str:
    """Cause, every problem, and the fix, as one text."""
    return " ".join([version.cause, *version.problems, version.fix])


def _usable(name: str, version_id: int | None = None) -> bool:
    adapter = Adapter.objects.select_related("target").filter(name=name).first()
    if adapter is None or adapter.desired != Desired.LOADED:
        raise InvalidRequest(f"The adapter {name!r} was unloaded meanwhile.", param="name")
    target = adapter.target
    if target is None or (version_id is not None and target.pk != version_id):
        # Another version has overtaken the one that is waited for.
        return version_id is not None and target is not None and adapter.current_id == target.pk
    if target.state == VersionState.FAILED:
        raise InvalidRequest(words_of(target), param="source")
    return adapter.current_id == target.pk and target.state == VersionState.READY


def _has_engine(adapter: Adapter) -> bool:
    return EngineInstance.objects.filter(model_id=adapter.base_id, state="ready").exists()


def _poll(done: Callable[[], bool], within_s: float) -> bool:
    """Ask until it is true; between two questions no database connection is kept."""
    until = time.monotonic() + within_s
    while not done():
        if time.monotonic() > until:
            return False
        if not connection.in_atomic_block:
            connection.close()
        time.sleep(POLL_S)
    return True


def shown(adapter: Adapter, placements: Placements) -> dict[str, Any]:
    """An adapter as the management API gives it."""
    return {
        "id": adapter.name,
        "object": "adapter",
        "base": adapter.base.name,
        "desired": adapter.desired,
        "state": adapter_state(adapter),
        "pinned": adapter.pinned,
        "version": adapter.current.number if adapter.current else None,
        "created_at": adapter.created_at,
        "versions": [_version(v, placements.get(v.digest, ())) for v in adapter.versions.all()],
    }


def _version(version: AdapterVersion, placed: tuple[Placed, ...]) -> dict[str, Any]:
    return {
        "version": version.number,
        "state": version.state,
        "cause": version.cause,
        "fix": version.fix,
        "problems": version.problems,
        "source": version.source if version.kind == "hub" else version.kind,
        "digest": version.digest,
        "rank": version.rank,
        "alpha": version.alpha,
        "modules": version.modules,
        "bytes": version.size_bytes,
        "files": version.hashes,
        "created_at": version.created_at,
        "engines": [
            {
                "id": one.engine,
                "state": one.beat.state,
                "residency": one.beat.residency,
                "hits": one.beat.hits,
                "pinned": one.beat.pinned,
            }
            for one in placed
        ],
    }
