"""The home of the admin: one sentence on what needs a person, one row per area, figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from apps.models.models import State
from apps.models.overview import Overview, overview_read
from apps.models.templatetags.pagoda import change, ms
from apps.models.trouble import Area, Trouble, troubles_in, troubles_of
from apps.usage.course import Course, Series
from engine.messages import EngineBeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One area: a healthy one is a line, one with trouble opens itself."""

    title: str
    line: str
    link: str
    troubles: list[Trouble]

    @property
    def tone(self) -> str:
        if not self.troubles:
            return "pg-ok"
        return "pg-bad" if self.troubles[0].tone == "bad" else "pg-warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A figure of the last 24 hours, its course, and its change against the 24 hours before."""

    title: str
    value: str
    change: str = ""
    better: bool | None = None  # None: neither good nor bad
    points: tuple[float, ...] = ()
    percent: int | None = None  # drawn as a bar instead


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the home page shows. Eight SQL queries, a few round trips to Redis."""
    seen = overview_read()
    troubles = troubles_of(seen)
    context |= {
        "title": "Operate",
        "sentence": sentence(seen, troubles),
        "tone": "pg-bad"
        if troubles and troubles[0].tone == "bad"
        else "pg-warn"
        if troubles
        else "pg-ok",
        "rows": [] if not seen.models else _rows(seen, troubles),
        "cards": _cards(seen),
    }
    return context


def operate_live(request: HttpRequest) -> HttpResponse:
    """The part of the home page that refreshes itself."""
    return TemplateResponse(request, "admin/operate_live.html", dashboard_context(request, {}))


def sentence(seen: Overview, troubles: Sequence[Trouble]) -> str:
    """What needs a person first, then what is on its way."""
    if not seen.models:
        return "Nothing is served yet."
    if troubles:
        return "1 thing needs you." if len(troubles) == 1 else f"{len(troubles)} things need you."
    if not any(model.wanted for model in seen.models):
        return "Nothing is served: no model is loaded."
    late = sum(model.awake and model.ready < model.replicas for model in seen.models)
    if late:
        return "1 model is loading." if late == 1 else f"{late} models are loading."
    return "Everything is running."


def _rows(seen: Overview, troubles: Sequence[Trouble]) -> list[Row]:
    lines: tuple[tuple[Area, str, str, Callable[[Overview], str]], ...] = (
        (Area.ENGINES, "Engines", "catalog_engineinstance_changelist", _engines_line),
        (Area.MODELS, "Models", "catalog_servedmodel_changelist", _models_line),
        (Area.ADAPTERS, "Adapters", "lora_adapter_changelist", _adapters_line),
        (Area.KEYS, "API keys", "api_apikey_changelist", _keys_line),
        (Area.WORK, "Background work", "catalog_host_changelist", _work_line),
    )
    return [
        Row(
            title=title,
            line=line(seen),
            link=reverse(f"admin:{view}"),
            troubles=troubles_in(area, troubles),
        )
        for area, title, view, line in lines
    ]


def _engines_line(seen: Overview) -> str:
    ready = sum(engine.state == State.READY for engine in seen.engines)
    beats = seen.beats.values()
    running, waiting = sum(b.running for b in beats), sum(b.waiting for b in beats)
    return f"{ready} of {len(seen.engines)} ready · {running} running, {waiting} waiting"


def _models_line(seen: Overview) -> str:
    loaded = sum(model.wanted and model.ready > 0 for model in seen.models)
    resting = sum(model.wanted and model.resting for model in seen.models)
    parts = [f"{loaded} loaded"]
    if resting:
        parts.append(f"{resting} unloaded while idle")
    if unloaded := sum(not model.wanted for model in seen.models):
        parts.append(f"{unloaded} unloaded")
    return " · ".join(parts)


def _adapters_line(seen: Overview) -> str:
    ready = sum(adapter.current_id is not None for adapter in seen.adapters)
    return f"{ready} ready of {len(seen.adapters)}" if seen.adapters else "none yet"


def _keys_line(seen: Overview) -> str:
    return "1 can be used" if seen.keys_usable == 1 else f"{seen.keys_usable} can be used"


def _work_line(seen: Overview) -> str:
    online = sum(host.online for host in seen.hosts)
    backlog = f"{seen.backlog.events} waiting" if seen.backlog.events else "up to date"
    return (
        f"{_count(len(seen.webs), 'web process', 'web processes')} · "
        f"{_count(online, 'agent', 'agents')} · usage {backlog}"
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _cards(seen: Overview) -> list[Card]:
    course = seen.course
    now, before = course.day(0), course.day(1)
    plain = (
        ("Requests", "requests", True),
        ("Input tokens", "prompt_tokens", None),
        ("Output tokens", "completion_tokens", None),
    )
    return [
        *(
            Card(
                title=title,
                value=short(sum(now(name))),
                points=tuple(now(name)),
                **_change(sum(now(name)), sum(before(name)), more_is_better),
            )
            for title, name, more_is_better in plain
        ),
        _errors(now, before),
        _first_token(course),
        _cache(list(seen.beats.values())),
    ]


def _errors(now: Series, before: Series) -> Card:
    percent, percent_before = (
        100 * sum(day("bad")) / (sum(day("requests")) or 1) for day in (now, before)
    )
    change = _change(percent, percent_before, more_is_better=False)
    return Card(title="Failed", value=f"{percent:.1f} %", points=tuple(now("bad")), **change)


def _first_token(course: Course) -> Card:
    now, before = course.first_token_p95(0), course.first_token_p95(1)
    return Card(
        title="First token, p95",
        value="no data" if now is None else ms(now),
        points=course.first_token_hours(),
        **_change(now or 0, before or 0, more_is_better=False),
    )


def _cache(beats: Sequence[EngineBeat]) -> Card:
    total = sum(beat.blocks_total for beat in beats)
    used = total - sum(beat.blocks_free for beat in beats)
    percent = round(100 * used / total) if total else 0
    return Card(title="KV cache in use", value=f"{percent} %", percent=percent)


def _change(now: float, before: float, more_is_better: bool | None) -> dict[str, Any]:
    """Words for the difference; nothing where there is nothing to compare with."""
    if not before or now == before:
        return {}
    better = None if more_is_better is None else (now > before) == more_is_better
    return {"change": change(now / before - 1, "the day before"), "better": better}


def short(number: int) -> str:
    """12,345 → 12.3 k, so that a card holds any figure."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= size:
            return f"{number / min(size, 1000 if unit == 'k' else size):.1f} {unit}"
    return f"{number:,}"
