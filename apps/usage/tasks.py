"""Celery tasks of usage: thin callers of services."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from apps.usage.retention import usage_prune
from apps.usage.services import usage_hour_right, usage_rebuild

log = logging.getLogger(__name__)


@shared_task(name="usage.retention")  # type: ignore[untyped-decorator]
def retention() -> int:
    """Once a night. Returns how many rows went."""
    gone = usage_prune(days=settings.PAGODA.usage_retention_days)
    log.info("usage_pruned", extra={"rows": gone})
    return gone


@shared_task(name="usage.rebuild")  # type: ignore[untyped-decorator]
def rebuild() -> bool:
    """Once a night, before rows go: yesterday's sums from its rows. Returns whether they agreed."""
    return usage_rebuild(day=timezone.now().date() - timedelta(days=1))


@shared_task(name="usage.check")  # type: ignore[untyped-decorator]
def check() -> bool:
    """Once an hour: do the sums of the last whole hour equal its rows? If not, its day is
    rebuilt. Returns whether they agreed."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    return usage_hour_right(hour=hour) or usage_rebuild(day=hour.date())
