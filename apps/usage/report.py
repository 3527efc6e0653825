"""What the usage page shows, from hourly and daily sums alone: no function here reads a row.

Each function is one SQL query. Sums over all keys are rows of their own (key id empty), so only
what is asked by key or owner reads the rows of keys, and those come from an index.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Exists,
    Max,
    OuterRef,
    QuerySet,
    Sum,
    Value,
    When,
)

from apps.api.models import ApiKey
from apps.usage.histogram import columns, quantile
from apps.usage.models import SUM_FIELDS, UsageDay, UsageHour, UsageKey
from apps.usage.period import Period

LATENCIES = ("ttft", "itl")
SHARES = (0.5, 0.95, 0.99)
Amounts = dict[str, int]
Histograms = dict[str, list[int]]  # metric → counts per bucket
Steps = list[tuple[tuple[dt.datetime, str], int]]
Sums = QuerySet[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Whose requests. `key_ids` None: everybody's."""

    key_ids: frozenset[str] | None = None
    model: str = ""
    adapter: str = ""
    statuses: tuple[str, ...] = ()  # none: all

    def of(self, rows: Sums, *, per_key: bool = False) -> Sums:
        if self.key_ids is not None:
            rows = rows.filter(key_id__in=sorted(self.key_ids))
        else:
            rows = rows.exclude(key_id="") if per_key else rows.filter(key_id="")
        if self.statuses:
            rows = rows.filter(status__in=self.statuses)
        exact = {"model": self.model, "adapter": self.adapter}
        return rows.filter(**{name: value for name, value in exact.items() if value})


@dataclass(slots=True)
class Cell:
    """Amounts of one step and one combination of names."""

    at: dt.datetime
    model: str
    adapter: str
    status: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class KeyName:
    """What a key was called when it was last used."""

    name: str
    owner: str
    there: bool  # the key still exists


@dataclass(slots=True)
class Line:
    """One row of a breakdown."""

    name: str  # as filters take it
    label: str
    amounts: Amounts
    last: dt.datetime | dt.date | None = None


def hours(span: Period) -> Sums:
    return UsageHour.objects.filter(hour__gte=span.start, hour__lt=span.end)


def days(span: Period) -> Sums:
    return UsageDay.objects.filter(day__gte=span.start.date(), day__lt=span.end.date())


def coarsest(span: Period) -> tuple[Sums, str]:
    """The smallest table that can answer for the whole span, and its column of time."""
    return (days(span), "day") if span.whole_days else (hours(span), "hour")


def by_step(span: Period) -> tuple[Sums, str]:
    return (hours(span), "hour") if span.grain == "hour" else (days(span), "day")


def cells(span: Period, which: Which) -> list[Cell]:
    """Amounts per step, model, adapter and status: series and all breakdowns but those of keys."""
    rows, column = by_step(span)
    found = which.of(rows).values(column, "model", "adapter", "status")
    return [
        Cell(_moment(r[column]), r["model"], r["adapter"], r["status"], _amounts(r))
        for r in found.annotate(**_sums()).order_by()
    ]


def latencies(span: Period, which: Which) -> dict[dt.datetime, tuple[Amounts, Histograms]]:
    """Amounts and latency histograms per step."""
    rows, column = by_step(span)
    names = {f"sum_{name}": Sum(name) for metric in LATENCIES for name in columns(metric)}
    found: Iterable[dict[str, Any]] = (
        which.of(rows).values(column).annotate(**_sums(), **names).order_by()
    )
    return {
        _moment(row[column]): (
            _amounts(row),
            {m: [row[f"sum_{name}"] for name in columns(m)] for m in LATENCIES},
        )
        for row in found
    }


def heat(span: Period, which: Which) -> list[list[int]]:
    """Requests per weekday (0 = Monday) and hour of the day, UTC."""
    table = [[0] * 24 for _ in range(7)]
    found = which.of(hours(span)).values_list("hour").annotate(n=Sum("requests")).order_by()
    for hour, requests in found:
        table[hour.weekday()][hour.hour] += requests
    return table


def per_key(span: Period, which: Which) -> list[Line]:
    """Amounts and last activity per key, busiest first; labels are still ids."""
    rows, column = coarsest(span)
    found = which.of(rows, per_key=True).values("key_id")
    lines = found.annotate(**_sums(), last=Max(column)).order_by()
    return busiest(Line(r["key_id"], r["key_id"], _amounts(r), r["last"]) for r in lines)


def key_steps(span: Period, which: Which, key_ids: Collection[str], metric: str) -> Steps:
    """One amount per step and key, of these keys."""
    rows, column = by_step(span)
    rows = which.of(rows, per_key=True).filter(key_id__in=sorted(key_ids))
    return _steps(rows, column, "key_id", metric)


def owner_steps(
    span: Period, which: Which, members: Mapping[str, Collection[str]], metric: str
) -> Steps:
    """One amount per step and owner; `members` names each one's keys. Added up by the database:
    an owner may have hundreds of keys."""
    if not any(members.values()):
        return []
    rows, column = by_step(span)
    cases = [When(key_id__in=sorted(keys), then=Value(owner)) for owner, keys in members.items()]
    rows = which.of(rows, per_key=True).filter(key_id__in=sorted(set().union(*members.values())))
    rows = rows.annotate(owner=Case(*cases, output_field=CharField()))
    return _steps(rows, column, "owner", metric)


def _steps(rows: Sums, column: str, group: str, metric: str) -> Steps:
    found = rows.values_list(column, group).annotate(amount=Sum(metric)).order_by()
    return [((_moment(at), name), amount) for at, name, amount in found]


def key_names(key_ids: Collection[str] | None = None) -> dict[str, KeyName]:
    """Last known names of keys; of all keys without `key_ids`."""
    key = ApiKey.objects.order_by().filter(public_id=OuterRef("key_id"))
    rows = UsageKey.objects.annotate(there=Exists(key))
    if key_ids is not None:
        rows = rows.filter(key_id__in=sorted(key_ids))
    found = rows.values_list("key_id", "key_name", "owner_name", "there")
    return {key_id: KeyName(name or key_id, owner, there) for key_id, name, owner, there in found}


def keys_of_owner(name: str) -> frozenset[str]:
    return frozenset(UsageKey.objects.filter(owner_name=name).values_list("key_id", flat=True))


def keys_of_owner_ids(ids: Collection[str]) -> frozenset[str]:
    return frozenset(
        UsageKey.objects.filter(owner_id__in=list(ids)).values_list("key_id", flat=True)
    )


def totals(cells: Iterable[Cell]) -> list[Cell]:
    """Add up the steps of each combination of names; `at` is its last step."""
    sums: dict[tuple[str, str, str], Cell] = {}
    for cell in cells:
        names = (cell.model, cell.adapter, cell.status)
        if (total := sums.get(names)) is None:
            sums[names] = replace(cell, amounts=dict(cell.amounts))
        else:
            add(total.amounts, cell.amounts)
            total.at = max(total.at, cell.at)
    return list(sums.values())


def folded(lines: Iterable[tuple[str, Amounts, Any]]) -> list[Line]:
    """Add up lines of one name, busiest first."""
    sums: dict[str, Line] = {}
    for name, amounts, last in lines:
        line = sums.setdefault(name, Line(name, name, dict.fromkeys(SUM_FIELDS, 0)))
        add(line.amounts, amounts)
        line.last = last if line.last is None else max(line.last, last)
    return busiest(sums.values())


def busiest(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (-line.amounts["requests"], line.name))


def add(to: Amounts, more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        to[name] += amount


def percentiles(counts: Sequence[int]) -> list[float | None]:
    return [quantile(counts, share) for share in SHARES]


def owners_of(lines: Sequence[Line], names: Mapping[str, KeyName]) -> list[Line]:
    """Fold lines of keys into lines of their owners."""
    return folded(
        (names[line.name].owner if line.name in names else "", line.amounts, line.last)
        for line in lines
    )


def _sums() -> dict[str, Any]:
    return {f"sum_{name}": Sum(name) for name in SUM_FIELDS}


def _amounts(row: Mapping[str, Any]) -> Amounts:
    return {name: row[f"sum_{name}"] for name in SUM_FIELDS}


def _moment(at: dt.date | dt.datetime) -> dt.datetime:
    if isinstance(at, dt.datetime):
        return at
    return dt.datetime.combine(at, dt.time(), dt.UTC)
