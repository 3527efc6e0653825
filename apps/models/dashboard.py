"""The home of the admin: one sentence on what needs attention, one row per model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from apps.models.models import Desired, ServedModel, State
from apps.models.selectors import model_state


@dataclass(frozen=True, slots=True)
class Row:
    """One model as the home page shows it."""

    name: str
    pk: int
    state: str
    wanted: bool
    ready: int
    replicas: int
    trouble: str


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds `rows` and `sentence`. Two SQL queries."""
    rows = [_row(model) for model in ServedModel.objects.prefetch_related("instances")]
    context |= {"title": "Operate", "rows": rows, "sentence": sentence(rows)}
    return context


def sentence(rows: Sequence[Row]) -> str:
    """What needs a person first, then what is on its way."""
    if not rows:
        return "No model is registered yet. Add one under Models, or run: pagoda serve MODEL"
    if troubles := sum(bool(row.trouble) for row in rows):
        return "1 model needs you." if troubles == 1 else f"{troubles} models need you."
    if not any(row.wanted for row in rows):
        return "Nothing is served: no model is loaded."
    if late := sum(row.wanted and row.ready < row.replicas for row in rows):
        return "1 model is loading." if late == 1 else f"{late} models are loading."
    return "Everything is running."


def _row(model: ServedModel) -> Row:
    engines = list(model.instances.all())
    words = [f"{engine.cause} {engine.fix}" for engine in engines if engine.cause]
    return Row(
        name=model.name,
        pk=model.pk,
        state=model_state(model).label,
        wanted=model.desired == Desired.LOADED,
        ready=sum(engine.state == State.READY for engine in engines),
        replicas=model.replicas,
        trouble=words[0] if words else "",
    )
