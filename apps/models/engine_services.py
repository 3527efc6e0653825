"""Writes to hosts and engine rows, used by the agent. States move by compare-and-set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.models.models import EngineInstance, Host, ServedModel, State
from engine.runner.memory import free_memory


def host_seen(*, name: str, agent_pid: int, gpus: Sequence[dict[str, Any]] | None = None) -> Host:
    """Note that this host's agent lives. `gpus` None: nothing new about them. One upsert."""
    facts: dict[str, Any] = {
        "agent_pid": agent_pid,
        "last_seen": timezone.now(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "free_bytes": free_memory(),
    }
    if gpus is not None:
        facts["gpus"] = list(gpus)
    return Host.objects.update_or_create(name=name, defaults=facts)[0]


def instance_claim(*, model: ServedModel, replica: int, host: Host) -> EngineInstance | None:
    """Take one replica for this host; None if another agent was first."""
    try:
        with transaction.atomic():
            return EngineInstance.objects.create(
                model=model,
                replica=replica,
                host=host,
                engine_id=f"unstarted-{model.pk}-{replica}",
                generation=model.generation,
                ranks=[[host.name, "auto"]],
            )
    except IntegrityError:
        return None


def instance_move(*, pk: int, to: State, was: Iterable[State] = State, **fields: Any) -> bool:
    """Move an engine's state if it is one of `was`. False: somebody else moved it."""
    moved = EngineInstance.objects.filter(pk=pk, state__in=list(was)).update(
        state=to, since=timezone.now(), **fields
    )
    return moved == 1


def instance_release(*, pk: int) -> None:
    """Give the claim back: the engine has ended and is not wanted."""
    EngineInstance.objects.filter(pk=pk).delete()


def model_rest(*, pk: int) -> bool:
    """Nobody asks for this model: its engines drain, its name stays. False: it was not at work."""
    idle = ServedModel.objects.awake().filter(pk=pk, keep_alive_s__isnull=False)
    return idle.update(resting=True) == 1


def model_wake(*, pk: int) -> bool:
    """A request waits: engines start. False: it was not at rest."""
    return ServedModel.objects.filter(pk=pk, resting=True).update(resting=False) == 1


def model_load_took(*, pk: int, seconds: float) -> None:
    """For the estimate that a request gets while the model loads."""
    ServedModel.objects.filter(pk=pk).update(load_s=seconds)
