"""Celery tasks of adapters: thin callers."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from celery.signals import worker_ready
from django.utils import timezone

from apps.lora import store
from apps.lora.checking import version_check
from apps.lora.jobs import CHECK, SWEEP, check_soon
from apps.lora.models import CHECKING, AdapterVersion, VersionState
from apps.lora.services import version_refuse

UPLOAD_LIFE = timedelta(hours=1)


@shared_task(name=CHECK)  # type: ignore[untyped-decorator]
def check(version_id: int) -> None:
    """Check the files of one version."""
    version_check(version_id)


@shared_task(name=SWEEP)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Queue what was left unchecked, end uploads nobody finished, remove files without a row."""
    ended = timezone.now() - UPLOAD_LIFE
    for version in AdapterVersion.objects.filter(state__in=CHECKING).select_related("adapter"):
        if version.state == VersionState.REGISTERED and version.ticket_digest:
            if version.since < ended:
                store.discard(version.pk)
                cause = "The upload was not finished within an hour."
                version_refuse(version=version, problems=[], cause=cause, fix="Upload both files.")
        else:
            check_soon(version.pk)
    rows = AdapterVersion.objects.values_list("pk", "digest")
    store.discard_unknown(versions={pk for pk, _ in rows}, digests={d for _, d in rows if d})


@worker_ready.connect  # type: ignore[untyped-decorator]
def _on_start(**_facts: object) -> None:
    """What was registered while no worker ran is checked now."""
    sweep.delay()
