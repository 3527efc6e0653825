"""Rates and events between two heartbeats."""

from __future__ import annotations

from apps.models.live_figures import Rates, happened, rates
from engine.messages import AdapterBeat, AdapterState, EngineBeat, EngineState, Residency


def beat(**fields: object) -> EngineBeat:
    known = {"engine": "e", "model": "m", "state": EngineState.READY, "started_ms": 1}
    return EngineBeat(**(known | fields))  # type: ignore[arg-type]


def texts(before: EngineBeat | None, now: EngineBeat) -> list[str]:
    return [event.text for event in happened(before, now)]


def test_rates_are_differences_over_time() -> None:
    before = beat(steps=10, busy_ms=1000, counters={"generation_tokens": 100})
    now = beat(steps=30, busy_ms=1400, counters={"generation_tokens": 300})
    assert rates(before, now, 2.0) == Rates(
        tokens_per_s=100.0, step_ms=20.0, tokens_per_step=10.0, busy=0.2
    )


def test_first_heartbeat_and_another_engine_have_no_rates() -> None:
    now = beat(counters={"generation_tokens": 9})
    assert rates(None, now, 1.0) == rates(beat(engine="other"), now, 1.0) == Rates()


def test_idle_engine_has_rates_of_zero() -> None:
    assert rates(beat(steps=5), beat(steps=5), 1.0) == Rates()


def test_what_happened_is_told_in_words() -> None:
    before = beat(counters={"preemptions": 1})
    now = beat(state=EngineState.DRAINING, counters={"preemptions": 3, "failed": 1})
    assert texts(before, now) == [
        "ready → draining.",
        "2 sequences preempted: no KV block was left.",
        "1 request failed in the engine.",
    ]
    assert texts(before, beat(started_ms=2)) == ["The engine started anew."]
    assert texts(None, now) == texts(now, now) == []


def test_moves_of_adapters_are_told() -> None:
    def adapter(state: AdapterState, where: Residency) -> AdapterBeat:
        return AdapterBeat(digest="d", name="pirate", state=state, residency=where)

    states = list(AdapterState)
    host, slot = adapter(states[-1], Residency.HOST), adapter(states[-1], Residency.SLOT)
    assert texts(beat(), beat(adapters=[host])) == [f"Adapter pirate: {states[-1]}."]
    assert texts(beat(adapters=[host]), beat(adapters=[slot])) == [
        "Adapter pirate moved: host → slot."
    ]
    assert texts(beat(adapters=[slot]), beat()) == ["Adapter pirate unloaded."]
