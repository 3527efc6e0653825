"""Sums of fifty thousand requests: as settlers made them, and made anew from the rows."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from apps.usage import report
from apps.usage.histogram import BUCKETS, bucket
from apps.usage.models import UsageDay, UsageHour, UsageKey, UsageRecord
from apps.usage.period import between
from apps.usage.report import Which
from apps.usage.services import usage_hour_right, usage_rebuild
from apps.usage.store import usage_insert
from tests.integration.site.usage_rows import made_rows

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]
ROWS, DAYS, SEED = 50_000, 10, 20
SHARES = (0.5, 0.95, 0.99)


@pytest.fixture(scope="module")
def stored(django_db_setup: None, django_db_blocker: Any) -> Iterator[list[UsageRecord]]:
    """Inserted in batches of any size and order; a tenth of them twice, as after a kill. All tests
    share them: the database stays open and is emptied at the end."""
    rows = made_rows(timezone.now().replace(microsecond=0), ROWS, DAYS, SEED)
    draw = random.Random(SEED)
    waiting = rows + draw.sample(rows, ROWS // 10)
    draw.shuffle(waiting)
    with django_db_blocker.unblock():
        while waiting:
            size = draw.randrange(1, 1000)
            usage_insert(waiting[:size])
            del waiting[:size]
        yield rows
        for table in (UsageRecord, UsageHour, UsageDay, UsageKey):
            table.objects.all().delete()


def test_each_day_made_anew_is_what_the_settler_summed(stored: list[UsageRecord]) -> None:
    assert UsageRecord.objects.count() == ROWS
    per_day = Counter(row.ended_at.date() for row in stored)
    for day, requests in sorted(per_day.items()):
        assert usage_rebuild(day=day), day
        assert sum_of(UsageDay, day=day) == requests
        assert sum_of(UsageHour, hour__date=day) == requests


def test_each_hour_equals_its_rows(stored: list[UsageRecord]) -> None:
    hours = {row.ended_at.replace(minute=0, second=0, microsecond=0) for row in stored}
    assert all(usage_hour_right(hour=hour) for hour in sorted(hours)[:: DAYS // 2])


@pytest.mark.parametrize("model", ["", "base", "large"])
@pytest.mark.parametrize("key", ["", "kaaaaaaa"])
def test_percentiles_lie_within_one_bucket(model: str, key: str, stored: list[UsageRecord]) -> None:
    span = between(min(r.ended_at for r in stored).date(), timezone.now().date(), "day")
    which = Which(model=model, key_ids=frozenset({key}) if key else None)
    steps = report.latencies(span, which).values()
    rows = [
        row
        for row in stored
        if model in ("", row.model) and key in ("", row.key_id) and row.completion_tokens > 1
    ]
    exact = {
        "ttft": sorted(
            row.ttft_ms
            for row in stored
            if model in ("", row.model) and key in ("", row.key_id) and row.completion_tokens
        ),
        "itl": sorted((r.total_ms - r.ttft_ms) / (r.completion_tokens - 1) for r in rows),
    }
    for metric, values in exact.items():
        counts = [sum(found[metric][i] for _, found in steps) for i in range(BUCKETS)]
        assert sum(counts) == len(values)
        for share, shown in zip(SHARES, report.percentiles(counts), strict=True):
            assert shown is not None
            true = values[min(len(values) - 1, int(share * len(values)))]
            assert abs(bucket(shown) - bucket(true)) <= 1, (metric, share, shown, true)


def sum_of(table: type[UsageDay] | type[UsageHour], **which: dt.date) -> int:
    """Requests of the rows for all keys."""
    rows = table.objects.filter(key_id="", **which)
    return sum(rows.values_list("requests", flat=True))
