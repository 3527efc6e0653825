"""Celery tasks of the catalog: thin callers of services."""

from __future__ import annotations

from celery import shared_task

from apps.models.alert_settings import alert_settings
from apps.models.alerts import alerts_check


@shared_task(name="alerts.check")  # type: ignore[untyped-decorator]
def check() -> int:
    """Twice a minute. Returns how many messages were delivered."""
    webhook = alert_settings().alert_webhook
    return alerts_check(webhook=webhook) if webhook else 0
