"""Unloads models that nobody asks and loads them again for the next request.

A request for a resting model is admitted like any other and waits in its queue; the agent looks
there every turn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import redis

from apps.models import engine_services as writes
from apps.models.models import EngineInstance, ServedModel, State
from engine import redis_keys
from engine.messages import EngineBeat

log = logging.getLogger(__name__)


@dataclass(slots=True)
class IdleWatch:
    """Since when each model has had nothing to do. Times are of the agent's monotonic clock."""

    # Model's pk → what its engines had finished when it was last seen at work, and when that was.
    _quiet: dict[int, tuple[int, float]] = field(default_factory=dict)

    def turn(
        self,
        client: redis.Redis,
        models: Iterable[ServedModel],
        rows: Iterable[EngineInstance],
        beats: dict[str, EngineBeat],
        now: float,
    ) -> None:
        """Move models between rest and work. Costs nothing for those without `keep_alive_s`."""
        by_model: dict[int, list[EngineInstance]] = {}
        for row in rows:
            by_model.setdefault(row.model_id, []).append(row)
        for model in models:
            if model.resting:
                if requests_wait(client, model.name):
                    model.resting = not writes.model_wake(pk=model.pk)
                    log.info("model_woken", extra={"model": model.name})
            elif model.keep_alive_s is not None:
                engines = by_model.get(model.pk, [])
                quiet_s = self._quiet_s(client, model, engines, beats, now)
                if quiet_s >= model.keep_alive_s:
                    model.resting = writes.model_rest(pk=model.pk)
                    log.info("model_rests", extra={"model": model.name, "idle_s": round(quiet_s)})

    def _quiet_s(
        self,
        client: redis.Redis,
        model: ServedModel,
        engines: list[EngineInstance],
        beats: dict[str, EngineBeat],
        now: float,
    ) -> float:
        """Seconds without a request, 0 while one is here or an engine is not ready."""
        found = [beats[e.engine_id] for e in engines if e.engine_id in beats]
        all_ready = len(found) == len(engines) == model.replicas and all(
            engine.state == State.READY for engine in engines
        )
        busy = any(beat.running + beat.waiting for beat in found)
        ended = sum(
            beat.counters.get(name, 0)
            for beat in found
            for name in ("finished", "aborted", "failed")
        )
        last_ended, since = self._quiet.get(model.pk, (-1, now))
        if not all_ready or busy or ended != last_ended or requests_wait(client, model.name):
            self._quiet[model.pk] = (ended, now)
            return 0.0
        return now - since


def requests_wait(client: redis.Redis, model: str) -> bool:
    """Whether a queue of this model holds a request, read by an engine or not."""
    return any(client.xlen(redis_keys.queue(model, lane)) for lane in redis_keys.LANES)
