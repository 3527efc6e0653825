"""Celery tasks of usage: thin callers of services."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings

from apps.usage.retention import usage_prune

log = logging.getLogger(__name__)


@shared_task(name="usage.retention")  # type: ignore[untyped-decorator]
def retention() -> int:
    """Once a night. Returns how many rows went."""
    gone = usage_prune(days=settings.PAGODA.usage_retention_days)
    log.info("usage_pruned", extra={"rows": gone})
    return gone
