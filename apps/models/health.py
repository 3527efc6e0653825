"""Probes: /livez, /readyz, /health and its alias /ping. Public, answered before Django."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from apps.models.selectors import Placement, placement_read
from engine import redis_keys
from engine.errors import PagodaError
from engine.messages import EngineBeat, EngineState, WireMismatch, unpack

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5  # probes are public: they cost at most this often
HUNG_AFTER_MS = 10_000
Scope = dict[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen at one look: desired and announced state, and the heartbeats there were."""

    placement: Placement
    beats: tuple[EngineBeat, ...] = ()
    unsettled: int | None = None  # ended requests that wait for the database; None: not known

    @property
    def serving(self) -> frozenset[str]:
        """Models that are listed and have an engine whose steps go on."""
        listed = (beat for beat in self.beats if beat.engine in self.placement.announced)
        return frozenset(beat.model for beat in listed if is_serving(beat))

    @property
    def healthy(self) -> bool:
        """Every wanted model is served, or sleeps by order. Nothing wanted is healthy."""
        asleep = {beat.model for beat in self.beats if beat.asleep}
        return self.placement.wanted <= self.serving | asleep


def is_serving(beat: EngineBeat) -> bool:
    busy = beat.running + beat.waiting > 0
    return beat.state == EngineState.READY and not (busy and beat.step_age_ms > HUNG_AFTER_MS)


class EngineWatch:
    """Looks at heartbeats and desired state, at most twice a second per process."""

    def __init__(
        self,
        redis_url: Callable[[], str],
        read: Callable[[Callable[[], Placement]], Awaitable[Placement]],
    ) -> None:
        self._redis_url = redis_url
        self._client: redis.asyncio.Redis | None = None  # made on the event loop that uses it
        self._read = read
        self._lock = asyncio.Lock()
        self._sight = Sight(Placement())
        self._looked_at = float("-inf")

    async def look(self) -> Sight:
        """Raises `RedisError` when there are no heartbeats to see. With the database away the
        last known desired state counts."""
        async with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
                placement = self._sight.placement
                try:
                    placement = await self._read(placement_read)
                except PagodaError:
                    log.warning("placement_unread")
                self._sight = Sight(placement)
                self._sight = await self._sight_of(placement)
                self._looked_at = time.monotonic()
            return self._sight

    async def look_or_guess(self) -> Sight:
        """Like `look`; without Redis what is wanted, and no heartbeat."""
        try:
            return await self.look()
        except RedisError:
            return self._sight

    async def _sight_of(self, placement: Placement) -> Sight:
        """What Redis knows of it, in one round trip."""
        if self._client is None:
            self._client = redis.asyncio.Redis.from_url(self._redis_url(), socket_timeout=2)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xlen(redis_keys.USAGE)
        for engine in placement.engines:
            pipeline.get(redis_keys.engine_beat(engine))
        unsettled, *found = await pipeline.execute()
        beats = []
        for data in found:
            try:
                beats.append(unpack(EngineBeat, data or b""))
            except WireMismatch:
                continue  # gone, or of another version: not an engine we can use
        return Sight(placement, tuple(beats), unsettled)


class HealthApp:
    """Answers the probes and passes everything else on."""

    def __init__(self, site: App, watch: EngineWatch, ready: Callable[[], bool]) -> None:
        self._site = site
        self._watch = watch
        self._ready = ready
        self._probes: dict[str, Callable[[], Awaitable[bool]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/health": self._health,
            "/ping": self._health,
        }

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        probe = self._probes.get(scope["path"]) if scope["type"] == "http" else None
        if probe is None or scope["method"] not in ("GET", "HEAD", "POST"):
            await self._site(scope, receive, send)
            return
        status = 200 if await probe() else 503
        headers = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _livez(self) -> bool:
        return True

    async def _readyz(self) -> bool:
        return self._ready()

    async def _health(self) -> bool:
        try:
            return (await self._watch.look()).healthy
        except RedisError:
            return False
