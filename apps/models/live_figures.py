"""From one heartbeat to the next: rates, and what happened in between. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from engine.messages import EngineBeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Over the time between two heartbeats; 0 while nothing runs."""

    tokens_per_s: float = 0.0
    step_ms: float = 0.0
    tokens_per_step: float = 0.0
    busy: float = 0.0  # share of the time spent in steps


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the ribbon."""

    kind: str  # a tone of the page: ok, info, warn or bad
    text: str


def rates(before: EngineBeat | None, now: EngineBeat, seconds: float) -> Rates:
    if before is None or before.engine != now.engine or seconds <= 0:
        return Rates()
    tokens = _grown(before, now, "generation_tokens")
    busy_ms = max(0, now.busy_ms - before.busy_ms)
    steps, step_tokens = _steps(now)
    steps_before, tokens_before = _steps(before)
    turned = steps - steps_before
    return Rates(
        tokens_per_s=tokens / seconds,
        step_ms=busy_ms / turned if turned > 0 else 0.0,
        tokens_per_step=(step_tokens - tokens_before) / turned if turned > 0 else 0.0,
        busy=min(1.0, busy_ms / 1000 / seconds),
    )


def happened(before: EngineBeat | None, now: EngineBeat) -> Iterator[Event]:
    """What changed since the heartbeat before, in words."""
    if before is None:
        return
    if before.engine != now.engine or before.started_ms != now.started_ms:
        yield Event("warn", "The engine started anew.")
        return
    if before.state != now.state:
        tone = {"ready": "ok", "failed": "bad"}.get(now.state, "info")
        yield Event(tone, f"{before.state} → {now.state}.{f' {now.cause}' if now.cause else ''}")
    counted = (
        ("preemptions", "warn", "preempted: no KV block was left"),
        ("failed", "bad", "failed in the engine"),
        ("aborted", "info", "aborted"),
    )
    for name, tone, words in counted:
        if count := _grown(before, now, name):
            yield Event(tone, f"{count} {'sequence' if name == 'preemptions' else 'request'}"
                              f"{'s' if count > 1 else ''} {words}.")  # fmt: skip
    yield from _adapters(before, now)


def shown(beat: EngineBeat, found: Rates) -> dict[str, Any]:
    """Figures of one engine as the page takes them."""
    counters = beat.counters
    queried = counters.get("prefix_queried_tokens", 0)
    return {
        "engine": beat.engine,
        "model": beat.model,
        "state": str(beat.state),
        "host": beat.host,
        "pid": beat.pid,
        "step_age_ms": beat.step_age_ms,
        "running": beat.running,
        "waiting": beat.waiting,
        "preempted": counters.get("preemptions", 0),
        "finished": counters.get("finished", 0),
        "prefix_hits": counters.get("prefix_hit_tokens", 0) / queried if queried else None,
        "blocks_total": beat.blocks_total,
        "blocks_free": beat.blocks_free,
        "blocks_cached": beat.blocks_cached,
        "kv_tokens": beat.kv_tokens,
        "memory_bytes": beat.memory_bytes,
        "slots_used": beat.lora_slots_used,
        "slots_total": beat.lora_slots_total,
        "adapters": [
            {"name": a.name, "state": str(a.state), "residency": str(a.residency), "hits": a.hits}
            for a in beat.adapters
        ],
        **asdict(found),
    }


def _adapters(before: EngineBeat, now: EngineBeat) -> Iterator[Event]:
    old = {adapter.digest: adapter for adapter in before.adapters}
    for adapter in now.adapters:
        known = old.pop(adapter.digest, None)
        if known is None:
            yield Event("info", f"Adapter {adapter.name}: {adapter.state}.")
        elif known.state != adapter.state:
            yield Event("info", f"Adapter {adapter.name}: {known.state} → {adapter.state}.")
        elif known.residency != adapter.residency:
            yield Event(
                "info", f"Adapter {adapter.name} moved: {known.residency} → {adapter.residency}."
            )
    for adapter in old.values():
        yield Event("info", f"Adapter {adapter.name} unloaded.")


def _grown(before: EngineBeat, now: EngineBeat, name: str) -> int:
    return max(0, now.counters.get(name, 0) - before.counters.get(name, 0))


def _steps(beat: EngineBeat) -> tuple[int, int]:
    """Steps that computed something, and their tokens. The fake engine counts only its turns."""
    if beat.figures is not None and (steps := sum(beat.figures.iteration)):
        return steps, beat.figures.iteration_tokens
    counters = beat.counters
    return beat.steps, counters.get("prompt_tokens", 0) + counters.get("generation_tokens", 0)
