"""Pages of usage and of the request log, for staff; `account.py` has those of a key's owner."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from apps.models.console import page, staff_page
from apps.usage import export, log
from apps.usage.bodies import VIEW as VIEW_BODIES
from apps.usage.bodies import body_read
from apps.usage.dashboard import Dashboard, money
from apps.usage.forms import UsageForm
from apps.usage.models import UsageRecord

VIEW = "usage.view_usagerecord"
CHAT = "/v1/chat/completions"  # what the playground can ask


@staff_page(VIEW)
@require_GET
def usage(request: HttpRequest) -> HttpResponseBase:
    form = UsageForm(request.GET)
    form.is_valid()
    dashboard = Dashboard(form, form.period(timezone.now()), log.which_of(form), _log_url)
    context = dashboard.context() | {"form": form, "export_url": reverse("console:usage-export")}
    return page(request, "console/usage.html", "Usage", context)


@staff_page(VIEW)
@require_POST
def usage_export(request: HttpRequest) -> HttpResponseBase:
    form = UsageForm(request.POST)
    if not form.is_valid():
        return refused(form)
    return export.sums_response(form.period(timezone.now()), log.which_of(form))


@staff_page(VIEW)
@require_GET
def requests(request: HttpRequest) -> HttpResponseBase:
    form = log.LogForm(request.GET)
    form.is_valid()
    found = log.page_read(log.filters_of(form), log.Cursor.read(request.GET.get("after", "")))
    context = log_context(request, form, found) | {"export_url": reverse("console:log-export")}
    return page(request, "console/requests.html", "Request log", context)


@staff_page(VIEW)
@require_POST
def requests_export(request: HttpRequest) -> HttpResponseBase:
    form = log.LogForm(request.POST)
    if not form.is_valid():
        return refused(form)
    return export_rows(log.filters_of(form))


@staff_page(VIEW)
@require_GET
def request_detail(request: HttpRequest, rid: str) -> HttpResponseBase:
    row = UsageRecord.objects.filter(rid=rid).first()
    if row is None:
        raise Http404
    context = request_context(row) | {"back": reverse("console:requests")}
    if request.user.has_perm(VIEW_BODIES):
        context |= {"body": body_read(rid), "may_see_bodies": True}
        if row.route == CHAT and request.user.has_perm("api.add_apikey"):
            query = urlencode({"request": rid})
            context["playground"] = f"{reverse('console:playground')}?{query}"
    return page(request, "console/request.html", "Request", context)


def request_context(row: UsageRecord) -> dict[str, Any]:
    return {"row": row, "waterfall": waterfall(row), "cost": money(row.micros)}


def export_rows(filters: log.Filters) -> HttpResponseBase:
    """The file, or a refusal with the number: an export is never cut."""
    expected = log.rows_expected(filters)
    if expected > export.MOST_ROWS:
        return HttpResponse(
            f"These filters select up to {expected:,} requests; an export holds at most "
            f"{export.MOST_ROWS:,}. Choose a shorter time, a key or a model.",
            status=400,
            content_type="text/plain; charset=utf-8",
        )
    return export.rows_response(filters)


def refused(form: Any) -> HttpResponseBase:
    """What was wrong, line by line."""
    lines = [f"{name}: {text}" for name, texts in form.errors.items() for text in texts]
    return HttpResponse("\n".join(lines), status=400, content_type="text/plain; charset=utf-8")


def log_context(request: HttpRequest, form: log.LogForm, found: log.Page) -> dict[str, Any]:
    filters = {name: form.data.get(name, "") for name in form.fields}
    kept = urlencode({name: value for name, value in filters.items() if value})
    older = urlencode({"after": str(found.older)}) if found.older else ""
    return {
        "form": form,
        "rows": found.rows,
        "query": kept,
        "older": "&".join(filter(None, (kept, older))) if older else "",
        "first": "after" not in request.GET,
    }


def waterfall(row: UsageRecord) -> list[dict[str, Any]]:
    """Waiting, prefill and decode as shares of the whole, for bars of width 100."""
    total = max(1, row.total_ms)
    first = row.ttft_ms or row.total_ms
    spans = (
        ("Queue", 0, min(row.queue_ms, total)),
        ("Prefill", row.queue_ms, first),
        ("Decode", first, row.total_ms),
    )
    bars = [
        {
            "name": name,
            "ms": max(0, end - start),
            "x": 100 * start / total,
            "width": max(0.4, 100 * (end - start) / total),
        }
        for name, start, end in spans
    ]
    return [bar for bar in bars if bar["ms"] or bar["name"] == "Queue"]


def _log_url(query: str) -> str:
    return f"{reverse('console:requests')}?{query}"
