"""The home of the admin: one sentence on what needs attention, one row per model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from apps.models.models import ServedModel, State
from apps.models.selectors import model_state


@dataclass(frozen=True, slots=True)
class Row:
    """One model as the home page shows it."""

    name: str
    pk: int
    state: str
    ready: int
    replicas: int
    trouble: str


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds `rows` and `sentence`. Two SQL queries."""
    rows = [_row(model) for model in ServedModel.objects.prefetch_related("instances")]
    troubles = sum(bool(row.trouble) for row in rows)
    context |= {"rows": rows, "sentence": sentence(len(rows), troubles)}
    return context


def sentence(models: int, troubles: int) -> str:
    if not models:
        return "No model is registered yet. Add one under Models, or run: pagoda serve MODEL"
    if not troubles:
        return "Everything is running."
    return "1 model needs you." if troubles == 1 else f"{troubles} models need you."


def _row(model: ServedModel) -> Row:
    engines = list(model.instances.all())
    words = [f"{engine.cause} {engine.fix}" for engine in engines if engine.cause]
    return Row(
        name=model.name,
        pk=model.pk,
        state=model_state(model).label,
        ready=sum(engine.state == State.READY for engine in engines),
        replicas=model.replicas,
        trouble=words[0] if words else "",
    )
