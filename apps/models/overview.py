"""Everything the home page and the alerts look at, read at one moment."""

from __future__ import annotations

import datetime as dt
import logging
import time
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import redis
from django.db.models import F, Prefetch, Q
from django.utils import timezone

from apps.api.key_use import Use, keys_use
from apps.api.models import BUDGETS, ApiKey
from apps.lora.models import Adapter
from apps.models.models import EngineInstance, Host, ServedModel
from apps.usage.course import Course
from engine import redis_keys
from engine.messages import EngineBeat, WebBeat, WireMismatch, unpack
from inference_site.redis import redis_url

log = logging.getLogger(__name__)
S = TypeVar("S", bound=msgspec.Struct)

KEY_EXPIRES_SOON = dt.timedelta(days=7)
WATCHED_KEYS = 200  # those with a budget or an end; the soonest to end first


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Usage events in Redis that wait for the database."""

    events: int = 0
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One look at the installation. With Redis away only the database's part is filled."""

    now: dt.datetime
    models: tuple[ServedModel, ...] = ()  # with their instances and hosts
    hosts: tuple[Host, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    redis_away: bool = False
    beats: dict[str, EngineBeat] = field(default_factory=dict)  # by engine id
    webs: tuple[WebBeat, ...] = ()
    waits_s: dict[str, float] = field(default_factory=dict)  # model → oldest undelivered request
    backlog: Backlog = Backlog()
    course: Course = field(default_factory=Course)  # two days of usage by the hour
    keys_usable: int = 0
    keys: tuple[ApiKey, ...] = ()  # usable, with a budget or an end in sight
    uses: dict[int, list[Use]] = field(default_factory=dict)

    @property
    def engines(self) -> list[EngineInstance]:
        return [engine for model in self.models for engine in model.instances.all()]


def overview_read() -> Overview:
    """Seven SQL queries and a few round trips to Redis."""
    now = timezone.now()
    engines = Prefetch("instances", EngineInstance.objects.select_related("host"))
    models = tuple(ServedModel.objects.prefetch_related(engines))
    # A key that was made for less than that time is meant to end.
    soon = Q(expires_at__lt=now + KEY_EXPIRES_SOON, successor__isnull=True) & Q(
        expires_at__gt=F("created_at") + KEY_EXPIRES_SOON
    )
    ends = soon
    for name in BUDGETS:
        ends |= Q(**{f"{name}__isnull": False})
    watched = (
        ApiKey.objects.listed()
        .usable()
        .filter(ends)
        .select_related("owner__user")
        .order_by("expires_at")
    )
    keys = tuple(watched[:WATCHED_KEYS])
    facts: dict[str, Any] = {
        "now": now,
        "models": models,
        "hosts": tuple(Host.objects.all()),
        "adapters": tuple(Adapter.objects.select_related("target", "base")),
        "course": Course.read(now),
        "keys_usable": ApiKey.objects.listed().usable().count(),
        "keys": keys,
    }
    try:
        with redis.Redis.from_url(redis_url(), socket_timeout=2) as client:
            return Overview(**facts, **_live(client, models, keys))
    except redis.RedisError as error:
        log.warning("overview_without_redis", extra={"cause": type(error).__name__})
        return Overview(**facts, redis_away=True)


def beats_read(client: redis.Redis, engine_ids: list[str]) -> dict[str, EngineBeat]:
    """The heartbeats there are. One command."""
    found = client.mget([redis_keys.engine_beat(e) for e in engine_ids]) if engine_ids else []
    beats = (_unpacked(EngineBeat, data) for data in found)
    return {beat.engine: beat for beat in beats if beat is not None}


def webs_read(client: redis.Redis) -> tuple[WebBeat, ...]:
    """All web processes that live."""
    names = list(client.scan_iter(redis_keys.web_beat("*"), count=1000))
    beats = (_unpacked(WebBeat, data) for data in (client.mget(names) if names else []))
    return tuple(beat for beat in beats if beat is not None)


def _live(
    client: redis.Redis, models: tuple[ServedModel, ...], keys: tuple[ApiKey, ...]
) -> dict[str, Any]:
    engines = [engine.engine_id for model in models for engine in model.instances.all()]
    return {
        "beats": beats_read(client, engines),
        "webs": webs_read(client),
        "waits_s": {model.name: queue_wait_s(client, model.name) for model in models},
        "backlog": _backlog(client),
        "uses": keys_use(client, keys),
    }


def _backlog(client: redis.Redis) -> Backlog:
    pipeline = client.pipeline(transaction=False)
    pipeline.xlen(redis_keys.USAGE)
    pipeline.xrange(redis_keys.USAGE, count=1)
    events, oldest = pipeline.execute()
    return Backlog(events=events, oldest_s=_age_s(oldest[0][0]) if oldest else 0.0)


def queue_wait_s(client: redis.Redis, model: str) -> float:
    """How long the oldest request that no engine has read waits; 0 when none does."""
    longest = 0.0
    for lane in redis_keys.LANES:
        queue = redis_keys.queue(model, lane)
        try:
            groups: list[dict[str, Any]] = client.xinfo_groups(queue)
        except redis.ResponseError:  # nobody ever sent a request there
            continue
        after = groups[0]["last-delivered-id"].decode() if groups else "0-0"
        waiting: Any = client.xrange(queue, min=f"({after}", count=1)
        for entry_id, _ in waiting:
            longest = max(longest, _age_s(entry_id))
    return longest


def _age_s(entry_id: bytes) -> float:
    """Age of a stream entry; its id begins with milliseconds of Redis' clock."""
    return max(0.0, time.time() - int(entry_id.partition(b"-")[0]) / 1000)


def _unpacked(kind: type[S], data: Any) -> S | None:
    """None for a message that is gone or of another version."""
    try:
        return unpack(kind, data or b"")
    except WireMismatch:
        return None
