"""Writes around usage: waking the judge, rebuilding sums."""

from __future__ import annotations

import datetime as dt

import redis
from django.db import transaction

from apps.usage.models import UsageDay, UsageHour, UsageRecord
from apps.usage.rows import sums_per_day, sums_per_hour
from apps.usage.store import sums_add
from engine import redis_keys

READ_AHEAD = 2000


def judge_wake(*, client: redis.Redis, engine_id: str) -> None:
    """Its parent saw this engine die: its requests are judged at once, not after the heartbeat."""
    client.delete(redis_keys.engine_beat(engine_id))
    client.rpush(redis_keys.JUDGE_WAKE, engine_id)


@transaction.atomic
def usage_rebuild(*, day: dt.date) -> None:
    """Compute the sums of one UTC day anew from its rows. Days whose rows were pruned must not
    be rebuilt: their sums are all that is left."""
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = start + dt.timedelta(days=1)
    UsageHour.objects.filter(hour__gte=start, hour__lt=end).delete()
    UsageDay.objects.filter(day=day).delete()
    records = UsageRecord.objects.filter(ended_at__gte=start, ended_at__lt=end)
    rows = list(records.iterator(chunk_size=READ_AHEAD))
    sums_add(UsageHour, "hour", sums_per_hour(rows))
    sums_add(UsageDay, "day", sums_per_day(rows))
