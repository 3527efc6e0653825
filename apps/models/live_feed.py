"""What the live page is sent each second: figures of one engine, its requests, its KV blocks.

Everything comes from Redis: heartbeats, the ledger's names, and a view that is asked of the engine
while somebody watches. Two watchers cost the engine no more than one.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import redis.asyncio
from msgspec import DecodeError

from apps.models.live_figures import Rates, happened, rates, shown
from engine import redis_keys, scripts
from engine.messages import (
    Control,
    ControlKind,
    EngineBeat,
    EngineState,
    WireMismatch,
    pack,
    unpack,
)
from engine.view import EngineView, ShownRequest

ASK_EVERY_MS = 900
VIEWED = (EngineState.READY, EngineState.DRAINING)


class EngineFeed:
    """One watcher. `frame` is called once a second."""

    def __init__(self, client: redis.asyncio.Redis, wanted: str) -> None:
        self._client = client
        self._wanted = wanted  # id of an engine, or empty for the first
        self._before: EngineBeat | None = None
        self._before_at = 0.0
        self._rates = Rates()

    async def frame(self, beats: Sequence[EngineBeat]) -> dict[str, Any]:
        """Raises `RedisError`."""
        engines = sorted(beats, key=lambda beat: (beat.model, beat.engine))
        listed = [{"engine": b.engine, "model": b.model, "state": str(b.state)} for b in engines]
        now = self._chosen(engines)
        if now is None:
            return {"feed": "engine", "engines": listed, "beat": None}
        events = [asdict(event) for event in happened(self._before, now)]
        self._measure(now)
        view = await self._view(now) if now.state in VIEWED else None
        return {
            "feed": "engine",
            "engines": listed,
            "at": time.time(),
            "beat": shown(now, self._rates),
            "events": events,
            "requests": await self._requests(view, now) if view else [],
            "more_requests": view.more_requests if view else 0,
            "map": _map(view) if view else None,
        }

    def _chosen(self, engines: Sequence[EngineBeat]) -> EngineBeat | None:
        """The wanted engine; when it is gone, its model's newer one, else the first."""
        by_id = {beat.engine: beat for beat in engines}
        if (found := by_id.get(self._wanted)) is not None:
            return found
        if (before := self._before) is not None:
            for beat in engines:
                if beat.model == before.model:
                    return beat
        return engines[0] if engines else None

    def _measure(self, now: EngineBeat) -> None:
        """A heartbeat that has not changed while work runs was read twice: rates stay."""
        if self._before is not None and now == self._before and now.running:
            return
        at = time.monotonic()
        self._rates = rates(self._before, now, at - self._before_at)
        self._before, self._before_at = now, at

    async def _view(self, beat: EngineBeat) -> EngineView | None:
        """The engine's last answer, and the question for the next."""
        asked = redis_keys.view_asked(beat.engine)
        if await self._client.set(asked, b"1", nx=True, px=ASK_EVERY_MS):
            question = pack(Control(kind=ControlKind.VIEW))
            await self._client.xadd(redis_keys.control(beat.engine), {"m": question})
        packed: Any = await self._client.get(redis_keys.engine_view(beat.engine))
        try:
            return unpack(EngineView, packed) if packed else None
        except WireMismatch:
            return None  # an engine of another version: its figures are still shown

    async def _requests(self, view: EngineView, beat: EngineBeat) -> list[dict[str, Any]]:
        """The listed requests with the names the ledger keeps of them."""
        rids = [request.rid for request in view.requests]
        found: list[Any] = await self._client.hmget(redis_keys.OPEN, rids) if rids else []
        bills = [_bill(packed) for packed in found]
        return [
            _request(request, bill, beat)
            for request, bill in zip(view.requests, bills, strict=True)
        ]


def _bill(packed: bytes | None) -> dict[str, Any]:
    try:
        return scripts.read_entry(packed).bill if packed else {}
    except DecodeError:
        return {}


def _request(request: ShownRequest, bill: dict[str, Any], beat: EngineBeat) -> dict[str, Any]:
    return {
        "rid": request.rid,
        "key": bill.get("key_name") or bill.get("key_id", ""),
        "owner": bill.get("owner_name", ""),
        "model": bill.get("model") or beat.model,
        "adapter": bill.get("adapter", ""),
        "running": request.running,
        "waiting": request.waiting,
        "prompt_tokens": request.prompt_tokens,
        "output_tokens": request.output_tokens,
        "age_ms": request.age_ms,
        "blocks": request.blocks,
    }


def _map(view: EngineView) -> dict[str, Any]:
    return {
        "block_tokens": view.block_tokens,
        "num_blocks": view.num_blocks,
        "blocks_per_cell": view.blocks_per_cell,
        "owners": base64.b64encode(view.owners).decode(),
        "uses": base64.b64encode(view.uses).decode(),
        "places": base64.b64encode(view.places).decode(),
    }
