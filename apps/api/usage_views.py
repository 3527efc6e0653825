"""Usage for keys with the `management` scope: sums per hour, and single requests."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.management_views import ManagementView, page_size
from apps.usage.models import SUM_FIELDS, UsageRecord
from apps.usage.selectors import usage_grouped, usage_page, usage_totals
from engine.errors import InvalidRequest

GROUPS = {
    "hour": "hour",
    "key": "key_id",
    "model": "model",
    "adapter": "adapter",
    "status": "status",
}
MAX_DAYS = 366
ROW_FIELDS = (
    "rid", "ended_at", "key_id", "key_name", "owner_name", "model", "adapter", "route", "stream",
    "status", "finish", "error", "attempts", "client_request_id", "prompt_tokens",
    "cached_tokens", "completion_tokens", "queue_ms", "ttft_ms", "total_ms", "micros",
)  # fmt: skip


class UsageView(ManagementView):
    def wanted_keys(self, request: Request) -> list[str] | None:
        """Public ids to sum over; None for everybody, which needs the `admin` scope."""
        if name := request.query_params.get("key"):
            return [self.key_named(name).public_id]
        if self.sees_all:
            return None
        return list(self.keys().values_list("public_id", flat=True))


class UsageSums(UsageView):
    """GET /api/usage?start=&end=&group_by=hour,key,model,adapter,status&key=&model="""

    def get(self, request: Request) -> Response:
        start, end = _period(request)
        model = request.query_params.get("model", "")
        keys = self.wanted_keys(request)
        found: dict[str, Any] = {"object": "usage", "start": start, "end": end}
        totals = usage_totals(start=start, end=end, key_ids=keys, model=model)
        found["totals"] = dataclasses.asdict(totals)
        if groups := _groups(request):
            rows = usage_grouped(start=start, end=end, by=groups, key_ids=keys, model=model)
            found["data"] = [{k: row[k] for k in (*groups, *SUM_FIELDS)} for row in rows]
        return Response(found)


class UsageRequests(UsageView):
    """GET /api/usage/requests?before=&limit=&key=: newest first."""

    def get(self, request: Request) -> Response:
        limit = page_size(request.query_params.get("limit"))
        before = request.query_params.get("before")
        if before is not None and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise InvalidRequest("'before' must be the 'next' of an earlier page.", param="before")
        rows = usage_page(
            key_ids=self.wanted_keys(request),
            before=None if before is None else int(before),
            limit=limit,
        )
        following = str(rows[-1].pk) if len(rows) == limit else None
        return Response({"object": "list", "data": [_row(r) for r in rows], "next": following})


def _row(record: UsageRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ROW_FIELDS}


def _period(request: Request) -> tuple[datetime, datetime]:
    """Whole hours; the last 24 by default. Raises `InvalidRequest`."""
    end = _moment(request, "end") or timezone.now() + timedelta(hours=1)
    end = end.replace(minute=0, second=0, microsecond=0)
    start = _moment(request, "start") or end - timedelta(hours=24)
    if not timedelta(0) < end - start <= timedelta(days=MAX_DAYS):
        raise InvalidRequest(
            f"'start' must lie before 'end' by at most {MAX_DAYS} days.", param="start"
        )
    return start, end


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        moment = parse_datetime(text[:64])
    except ValueError:
        moment = None
    if moment is None or not 1 < moment.year < 9999:  # a zone or a day moves it out of the calendar
        raise InvalidRequest(f"'{name}' must be a time like 2026-01-31T00:00:00Z.", param=name)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _groups(request: Request) -> tuple[str, ...]:
    names = [name for name in request.query_params.get("group_by", "").split(",") if name]
    for name in names:
        if name not in GROUPS:
            raise InvalidRequest(
                f"'group_by' takes {', '.join(GROUPS)}, separated by commas.", param="group_by"
            )
    return tuple(dict.fromkeys(GROUPS[name] for name in names))
