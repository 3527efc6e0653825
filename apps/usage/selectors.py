"""Reads of usage. Dashboards read sums only; the request log is paged by key, never counted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet, Sum

from apps.usage.histogram import METRICS, columns, quantile
from apps.usage.models import SUM_FIELDS, UsageDay, UsageHour, UsageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """Sums over a period; latencies in ms are the upper bound of their histogram bucket."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    micros: int = 0
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    itl_p50_ms: float | None = None
    itl_p95_ms: float | None = None
    total_p50_ms: float | None = None
    total_p95_ms: float | None = None


def usage_totals(
    *, start: dt.datetime, end: dt.datetime, key_ids: Iterable[str] | None = None, model: str = ""
) -> UsageTotals:
    """One query over the hours in [start, end). Without `key_ids`: everybody."""
    names = [*SUM_FIELDS, *(column for metric in METRICS for column in columns(metric))]
    sums = _hours(start, end, key_ids, model).aggregate(**{name: Sum(name) for name in names})
    values: dict[str, Any] = {name: sums[name] or 0 for name in SUM_FIELDS}
    for metric in METRICS:
        counts = [sums[column] or 0 for column in columns(metric)]
        values[f"{metric}_p50_ms"] = quantile(counts, 0.5)
        values[f"{metric}_p95_ms"] = quantile(counts, 0.95)
    return UsageTotals(**values)


def usage_grouped(
    *,
    start: dt.datetime,
    end: dt.datetime,
    by: tuple[str, ...],
    key_ids: Iterable[str] | None = None,
    model: str = "",
) -> list[dict[str, Any]]:
    """Sums per `by` (of hour, key_id, model, adapter, status), in that order. One query."""
    if "key_id" in by and key_ids is None:
        rows = UsageHour.objects.filter(hour__gte=start, hour__lt=end).exclude(key_id="")
        rows = rows.filter(model=model) if model else rows
    else:
        rows = _hours(start, end, key_ids, model)
    return list(rows.values(*by).annotate(**{n: Sum(n) for n in SUM_FIELDS}).order_by(*by))


def usage_days(*, key_ids: Iterable[str], start: dt.date) -> dict[tuple[str, dt.date], int]:
    """Tokens per key and day (UTC) from `start` on, days without use left out. One query."""
    rows = UsageDay.objects.filter(key_id__in=list(key_ids), day__gte=start)
    tokens = Sum(F("prompt_tokens") + F("completion_tokens"))
    sums = rows.values_list("key_id", "day").annotate(tokens=tokens)
    return {(key_id, day): count for key_id, day, count in sums}


def usage_page(
    *, key_ids: Iterable[str] | None = None, before: int | None = None, limit: int = 100
) -> list[UsageRecord]:
    """Newest rows first, those with an id below `before`. One query, no count."""
    found = UsageRecord.objects.order_by("-id")
    if key_ids is not None:
        found = found.filter(key_id__in=list(key_ids))
    if before is not None:
        found = found.filter(id__lt=before)
    return list(found[:limit])


def _hours(
    start: dt.datetime, end: dt.datetime, key_ids: Iterable[str] | None, model: str
) -> QuerySet[UsageHour]:
    who = Q(key_id="") if key_ids is None else Q(key_id__in=list(key_ids))
    rows = UsageHour.objects.filter(who, hour__gte=start, hour__lt=end)
    return rows.filter(model=model) if model else rows
