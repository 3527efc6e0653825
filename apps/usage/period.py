"""A span of time as the usage pages mean it: whole hours or whole days, always UTC."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

Grain = Literal["hour", "day"]
RANGES = {"24h": "Last 24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
MAX_DAYS = 366
MAX_HOURLY_DAYS = 7
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end), cut into steps of `grain`."""

    start: dt.datetime
    end: dt.datetime
    grain: Grain

    @property
    def step(self) -> dt.timedelta:
        return HOUR if self.grain == "hour" else DAY

    @property
    def whole_days(self) -> bool:
        """Then the daily sums can answer: a twenty-fourth of the rows."""
        return self.start.hour == 0 and self.end.hour == 0

    def steps(self) -> list[dt.datetime]:
        count = (self.end - self.start) // self.step
        return [self.start + i * self.step for i in range(count)]

    def before(self) -> Period:
        """The period of the same length that ends where this one starts."""
        return Period(self.start - (self.end - self.start), self.start, self.grain)


def last(name: str, now: dt.datetime, grain: Grain | None = None) -> Period:
    """One of `RANGES`, up to and with the hour or day that runs."""
    if name == "24h":
        end = now.replace(minute=0, second=0, microsecond=0) + HOUR
        return Period(end - DAY, end, "hour")
    end = _midnight(now.date()) + DAY
    return Period(end - int(name.removesuffix("d")) * DAY, end, grain or "day")


def between(first: dt.date, final: dt.date, grain: Grain | None = None) -> Period:
    """Whole days, both included; one or two days are shown by the hour."""
    days = (final - first).days + 1
    return Period(
        _midnight(first), _midnight(final) + DAY, grain or ("hour" if days <= 2 else "day")
    )


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)
