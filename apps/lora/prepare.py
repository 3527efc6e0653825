"""Adapters that `serve` registers before its processes start; the worker checks them later."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from apps.api.models import AuditEvent
from apps.api.services import Actor
from apps.lora.config import FILES
from apps.lora.services import version_add
from apps.lora.sources import source_from
from engine.errors import InvalidRequest
from inference_site.paths import DEMO_ADAPTERS, DEMO_MODEL


class LoraModule(msgspec.Struct, frozen=True):
    """One adapter of `--lora-modules`."""

    name: str
    path: str
    base_model_name: str | None = None


def modules_register(*, modules: Iterable[LoraModule], model: str, actor: Actor) -> None:
    """Add what the command line names. Raises `InvalidRequest` for a folder without an adapter."""
    for module in modules:
        version_add(
            name=module.name,
            source=source_from(module.path, anywhere=True),
            base=module.base_model_name or model or None,
            actor=actor,
        )


def demo_register(*, model: str, source: str, actor: Actor) -> None:
    """Add the bundled adapters the first time the bundled model is served; who has removed one
    does not get it back."""
    if Path(source) != DEMO_MODEL.resolve():
        return
    for folder in sorted(DEMO_ADAPTERS.glob("*")):
        seen = AuditEvent.objects.filter(action="adapter.add", subject=folder.name).exists()
        if seen or not all((folder / name).is_file() for name in FILES):
            continue
        try:
            version_add(name=folder.name, source=source_from(str(folder)), base=model, actor=actor)
        except InvalidRequest:
            continue  # the name is taken
