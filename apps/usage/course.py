"""Two days of hourly sums over all keys, for figures with their history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Sum

from apps.usage.histogram import BUCKETS, columns, quantile
from apps.usage.models import Status, UsageHour

HOURS = 24
FIGURES = ("requests", "prompt_tokens", "completion_tokens")
Series = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Course:
    """Sums per hour, oldest first: the last 24 hours, up to the running one, and 24 before."""

    hours: Sequence[dict[str, Any]] = ()

    @classmethod
    def read(cls, now: dt.datetime) -> Course:
        """One query of at most 192 rows."""
        end = now.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
        start = end - dt.timedelta(hours=2 * HOURS)
        names = [*FIGURES, *columns("ttft")]
        found: Any = (
            UsageHour.objects.filter(key_id="", hour__gte=start, hour__lt=end)
            .values("hour", "status")
            .annotate(**{f"sum_{name}": Sum(name) for name in names})
        )
        hours = [dict.fromkeys([*names, "bad"], 0) for _ in range(2 * HOURS)]
        for row in found:
            hour = hours[int((row["hour"] - start).total_seconds() // 3600)]
            for name in names:
                hour[name] += row[f"sum_{name}"]
            if row["status"] in (Status.ERROR, Status.LOST):
                hour["bad"] += row["sum_requests"]
        return cls(hours)

    def day(self, days_ago: int) -> Series:
        """Hourly values of a figure (`bad`: requests that failed) of the last 24 hours, or of the
        24 before."""
        hours = self._day(days_ago)
        return lambda name: [hour[name] for hour in hours]

    def last_hour(self, name: str) -> int:
        """Of the running hour and the one before: 60 to 120 minutes."""
        return sum(hour[name] for hour in self.hours[-2:])

    def first_token_p95(self, days_ago: int) -> float | None:
        """In ms, within one bucket."""
        return _p95(self._day(days_ago))

    def first_token_hours(self) -> tuple[float, ...]:
        """The same for each of the last 24 hours, 0 for those without a request."""
        return tuple(_p95([hour]) or 0.0 for hour in self._day(0))

    def _day(self, days_ago: int) -> Sequence[dict[str, Any]]:
        end = len(self.hours) - days_ago * HOURS
        return self.hours[end - HOURS : end]


def _p95(hours: Sequence[dict[str, Any]]) -> float | None:
    counts = [0] * BUCKETS
    for hour in hours:
        for index, column in enumerate(columns("ttft")):
            counts[index] += hour[column]
    return quantile(counts, 0.95)
