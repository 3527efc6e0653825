"""Writes around usage: waking the judge, rebuilding sums."""

from __future__ import annotations

import datetime as dt
from typing import Any

import redis
from django.db import transaction
from django.db.models import Count, QuerySet, Sum

from apps.usage.models import UsageDay, UsageHour, UsageRecord
from apps.usage.rows import sums_per_day, sums_per_hour
from apps.usage.store import settlers_wait, sums_add
from engine import redis_keys
from engine.logs import event_log

log = event_log(__name__)
READ_AHEAD = 2000


def judge_wake(*, client: redis.Redis, engine_id: str) -> None:
    """Its parent saw this engine die: its requests are judged at once, not after the heartbeat."""
    client.delete(redis_keys.engine_beat(engine_id))
    client.rpush(redis_keys.JUDGE_WAKE, engine_id)


@transaction.atomic
def usage_rebuild(*, day: dt.date) -> bool:
    """Compute the sums of one UTC day anew from its rows. Returns whether they had been right.

    Days whose rows were pruned must not be rebuilt: their sums are all that is left. Settlers wait
    meanwhile; two passes over the day's rows, none kept in memory.
    """
    settlers_wait()
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = start + dt.timedelta(days=1)
    hours = UsageHour.objects.filter(hour__gte=start, hour__lt=end)
    days = UsageDay.objects.filter(day=day)
    rows = UsageRecord.objects.filter(ended_at__gte=start, ended_at__lt=end)
    before = _contents(hours), _contents(days)
    hours.delete()
    days.delete()
    sums_add(UsageHour, "hour", sums_per_hour(rows.iterator(chunk_size=READ_AHEAD)))
    sums_add(UsageDay, "day", sums_per_day(rows.iterator(chunk_size=READ_AHEAD)))
    right = before == (_contents(hours), _contents(days))
    if not right:
        log.error("usage_sums_were_wrong", day=day.isoformat())
    return right


@transaction.atomic
def usage_hour_right(*, hour: dt.datetime) -> bool:
    """Whether requests and tokens of one hour are the same in sums and rows. Two queries."""
    names = ("prompt_tokens", "cached_tokens", "completion_tokens", "micros")
    end = hour + dt.timedelta(hours=1)
    rows = UsageRecord.objects.filter(ended_at__gte=hour, ended_at__lt=end)
    counted = rows.aggregate(requests=Count("pk"), **{f"sum_{n}": Sum(n) for n in names})
    hours = UsageHour.objects.filter(hour=hour, key_id="")
    summed = hours.aggregate(requests=Sum("requests"), **{f"sum_{n}": Sum(n) for n in names})
    return all((counted[name] or 0) == (summed[name] or 0) for name in counted)


def _contents(sums: QuerySet[Any]) -> set[tuple[Any, ...]]:
    names = [field.attname for field in sums.model._meta.concrete_fields if not field.primary_key]
    return set(sums.values_list(*names))
