"""Writes to hosts and engine rows, used by the agent. States move by compare-and-set."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.models.models import EngineInstance, Host, ServedModel, State


def host_seen(*, name: str, agent_pid: int) -> Host:
    """Note that this host's agent lives. One upsert."""
    facts = {
        "agent_pid": agent_pid,
        "last_seen": timezone.now(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
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
