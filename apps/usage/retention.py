"""Old usage rows and stored texts go; hourly and daily sums stay."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.usage.bodies import bodies_prune
from apps.usage.models import UsageRecord

BATCH = 2_000  # one short transaction each: the settler must not wait for long


def usage_prune(*, days: int) -> int:
    """Delete rows of requests that ended more than `days` days ago, and texts that are due. Returns
    how many rows."""
    before = timezone.now() - timedelta(days=days)
    bodies_prune(stored_before=before)
    gone = 0
    while True:
        with transaction.atomic():
            old = UsageRecord.objects.filter(ended_at__lt=before).order_by("ended_at", "id")
            ids = list(old.values_list("pk", flat=True)[:BATCH])
            gone += UsageRecord.objects.filter(pk__in=ids).delete()[0]
        if len(ids) < BATCH:
            return gone
