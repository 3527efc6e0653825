"""The request log: newest first, paged by (end, id), never counted.

One filter finds its index: (end, id), (key, end), (model, end), and small ones for what is rare
(not ok, adapters). Several filters or keys at once have none of their own: the daily sums say first
on which days a page's worth of rows lies, and where there are none, no row is read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from apps.usage import report
from apps.usage.forms import FilterForm, statuses
from apps.usage.models import Status, UsageDay, UsageRecord
from apps.usage.report import Which

PAGE = 50
DAY = dt.timedelta(days=1)
EVERYTHING = Which()
MOMENT = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")


class LogForm(FilterForm):
    """Filters of the log, to the minute."""

    start = forms.DateTimeField(required=False, label="From", widget=MOMENT)
    end = forms.DateTimeField(required=False, label="Before", widget=MOMENT)
    rid = forms.CharField(required=False, max_length=64, label="Request id")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        start, end = data.get("start"), data.get("end")
        if start and end and start >= end:
            self.add_error("start", "This moment lies after the last one.")
        return data


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of one row in the log."""

    ended_at: dt.datetime
    pk: int

    def __str__(self) -> str:
        return f"{self.ended_at.timestamp():.6f}_{self.pk}"

    @classmethod
    def of(cls, row: UsageRecord) -> Cursor:
        return cls(row.ended_at, row.pk)

    @classmethod
    def read(cls, text: str) -> Cursor | None:
        """From a URL; None for what is none."""
        stamp, _, pk = text.partition("_")
        try:
            return cls(dt.datetime.fromtimestamp(float(stamp), dt.UTC), int(pk))
        except (ValueError, OverflowError, OSError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rows. `which.key_ids` None: everybody's."""

    which: Which = EVERYTHING
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    rid: str = ""

    def rows(self) -> QuerySet[UsageRecord]:
        found = UsageRecord.objects.order_by("-ended_at", "-id")
        which = self.which
        exact = {"model": which.model, "adapter": which.adapter, "rid": self.rid}
        found = found.filter(**{name: value for name, value in exact.items() if value})
        if which.key_ids is not None:
            keys = sorted(which.key_ids)
            found = (
                found.filter(key_id=keys[0]) if len(keys) == 1 else found.filter(key_id__in=keys)
            )
        if which.statuses:
            found = found.filter(status__in=which.statuses)
        # SQLite takes a partial index only where its condition stands in the query, word for word;
        # beside a key it must not: few rows are that key's.
        rare = which.key_ids is None
        if rare and which.statuses and Status.OK not in which.statuses:
            found = found.extra(where=["NOT (status = 'ok')"])
        if rare and which.adapter:
            found = found.extra(where=["NOT (adapter = '')"])
        if self.start:
            found = found.filter(ended_at__gte=self.start)
        return found.filter(ended_at__lt=self.end) if self.end else found


@dataclass(slots=True)
class Page:
    """Rows, and where the next page begins; None on the last one."""

    rows: list[UsageRecord]
    older: Cursor | None


def filters_of(form: LogForm, own: frozenset[str] | None = None) -> Filters:
    """What a form asks for; `own` keeps it within these keys. At most one query."""
    return Filters(
        which=which_of(form, own),
        start=_moment(form, "start"),
        end=_moment(form, "end"),
        rid=form.value("rid"),
    )


def which_of(form: FilterForm, own: frozenset[str] | None = None) -> Which:
    """Keys and names of a form; `own` keeps it within these keys. One query for an owner."""
    keys = own
    if name := form.value("owner"):
        of_owner = report.keys_of_owner(name)
        keys = of_owner if keys is None else keys & of_owner
    if key := form.value("key"):
        keys = frozenset({key}) if keys is None else keys & {key}
    return Which(
        key_ids=keys,
        model=form.value("model"),
        adapter=form.value("adapter"),
        statuses=tuple(statuses(form.value("status"))),
    )


def page_read(filters: Filters, after: Cursor | None = None, size: int | None = None) -> Page:
    """One page. One query, two where several filters or keys are asked for."""
    size = size or PAGE
    rows = _older_than(filters.rows(), after)
    reach = _reach(filters, after, size) if _needs_reach(filters) else None
    if reach:
        rows = rows.filter(ended_at__gte=reach.start, ended_at__lt=reach.end)
    found = list(rows[: size + 1])
    if len(found) > size:
        return Page(found[:size], Cursor.of(found[size - 1]))
    return Page(found, Cursor(reach.start, 0) if reach and reach.more else None)


def newer_than(filters: Filters, pk: int, size: int = PAGE) -> list[UsageRecord]:
    """Rows stored since the row `pk`, oldest first: what a live view still lacks."""
    return list(filters.rows().filter(id__gt=pk).order_by("id")[:size])


def last_pk() -> int:
    """Of the newest stored row; 0 without any."""
    return UsageRecord.objects.order_by("-id").values_list("pk", flat=True).first() or 0


def pages(filters: Filters, size: int) -> Iterator[list[UsageRecord]]:
    """All rows, page by page, so that no cursor of the database stays open."""
    after: Cursor | None = None
    while True:
        page = page_read(filters, after, size)
        if page.rows:
            yield page.rows
        if page.older is None:
            return
        after = page.older


def rows_expected(filters: Filters) -> int:
    """Upper bound of the rows, from sums of whole days."""
    rows = filters.which.of(UsageDay.objects.all())
    if filters.start:
        rows = rows.filter(day__gte=filters.start.date())
    if filters.end:
        rows = rows.filter(day__lte=filters.end.date())
    return rows.aggregate(n=Sum("requests"))["n"] or 0


def _older_than(rows: QuerySet[UsageRecord], after: Cursor | None) -> QuerySet[UsageRecord]:
    if after is None:
        return rows
    same = Q(ended_at=after.ended_at, id__lt=after.pk)
    return rows.filter(Q(ended_at__lt=after.ended_at) | same, ended_at__lte=after.ended_at)


@dataclass(frozen=True, slots=True)
class Reach:
    """[start, end) holds a page's worth of rows; `more`: there are days with rows before it."""

    start: dt.datetime
    end: dt.datetime
    more: bool


def _needs_reach(filters: Filters) -> bool:
    which = filters.which
    keys = which.key_ids
    named = (keys is not None, which.model, which.adapter, which.statuses)
    several = keys is not None and len(keys) != 1
    return not filters.rid and (several or sum(map(bool, named)) > 1)


def _reach(filters: Filters, after: Cursor | None, size: int) -> Reach:
    """Where the rows of a page lie, by the daily sums. The day of the cursor is taken in, but
    nobody knows how many of its rows come after it. One query."""
    before = after.ended_at if after else (filters.end or timezone.now() + DAY)
    rows = filters.which.of(UsageDay.objects.filter(day__lte=before.date()))
    if filters.start:
        rows = rows.filter(day__gte=filters.start.date())
    days: list[dt.datetime] = []
    seen = 0
    for day, requests in rows.values_list("day").annotate(n=Sum("requests")).order_by("-day"):
        days.append(dt.datetime.combine(day, dt.time(), dt.UTC))
        seen += requests if day < before.date() else 0
        if seen > size:
            return Reach(days[-1], days[0] + DAY, more=True)
    if not days:
        return Reach(before, before, more=False)
    return Reach(days[-1], days[0] + DAY, more=False)


def _moment(form: LogForm, name: str) -> dt.datetime | None:
    value = getattr(form, "cleaned_data", {}).get(name)
    return value if isinstance(value, dt.datetime) else None
