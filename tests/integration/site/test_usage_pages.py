"""The usage page and the request log say what the rows say, and ask the database little."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.api.roles import Role
from apps.usage import log, report
from apps.usage.export import safe
from apps.usage.forms import UsageForm
from apps.usage.histogram import BOUNDS_MS, BUCKETS, bucket, quantile
from apps.usage.models import UsageRecord
from apps.usage.period import Period, between, last
from apps.usage.report import Which
from tests.integration.site.usage_rows import KEYS, stored_rows

pytestmark = pytest.mark.django_db
MOST_QUERIES = 12
USAGE, LOG = "console:usage", "console:requests"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def viewer(client: Client) -> Client:
    """Staff that may only look."""
    user = User.objects.create_user("eve", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=Role.VIEWER)[0])
    client.force_login(user)
    return client


@pytest.fixture
def rows() -> list[UsageRecord]:
    return stored_rows(timezone.now(), 150)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="usage-data" type="application/json">(.*?)</script>', page, re.S)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


@pytest.mark.parametrize(
    ("span", "group"),
    [("24h", "key"), ("7d", "owner"), ("90d", "model"), ("30d", "adapter"), ("7d", "status")],
)
def test_usage_page_opens_within_its_queries(
    span: str, group: str, staff: Client, rows: list[UsageRecord],
    django_assert_max_num_queries: type[CaptureQueriesContext],
) -> None:  # fmt: skip
    with django_assert_max_num_queries(MOST_QUERIES):
        reply = staff.get(reverse(USAGE), {"range": span, "group": group})
    assert reply.status_code == 200


def test_usage_page_reads_no_rows(staff: Client, rows: list[UsageRecord]) -> None:
    with CaptureQueriesContext(connection_of()) as asked:
        staff.get(reverse(USAGE), {"range": "7d", "group": "owner"})
    assert not [query for query in asked if UsageRecord._meta.db_table in query["sql"]]


def test_figures_are_those_of_the_rows(staff: Client, rows: list[UsageRecord]) -> None:
    page = staff.get(reverse(USAGE), {"range": "7d", "grain": "hour"}).content.decode()
    data = data_of(page)
    span = last("7d", timezone.now())
    inside = [row for row in rows if span.start <= row.ended_at < span.end]
    assert sum(data["tokens"]["Output"]) == sum(row.completion_tokens for row in inside)
    assert sum(data["tokens"]["Cached input"]) == sum(row.cached_tokens for row in inside)
    for status, series in data["statuses"].items():
        assert sum(series) == sum(row.status == status for row in inside)
    assert f">{len(inside):,}</a>" in page


def test_every_link_of_the_usage_page_leads_to_as_many_requests_as_it_says(
    staff: Client, rows: list[UsageRecord]
) -> None:
    page = staff.get(reverse(USAGE), {"range": "30d", "group": "key"}).content.decode()
    links = re.findall(r'<td class="pg-right"><a href="([^"]+)">([\d,]+)</a></td>', page)
    assert len(links) >= 6
    for link, count in links:
        query = parse_qs(urlsplit(unescape(link)).query)
        form = log.LogForm({name: values[0] for name, values in query.items()})
        assert form.is_valid(), form.errors
        if "adapter" in query or "key" in query or "model" in query:
            assert log.filters_of(form).rows().count() == int(count.replace(",", ""))


def test_group_by_owner_adds_up_its_keys(staff: Client, rows: list[UsageRecord]) -> None:
    page = staff.get(reverse(USAGE), {"range": "30d", "group": "owner"}).content.decode()
    series = data_of(page)["groups"]["series"]
    assert {name: sum(counts) for name, counts in series.items()} == {
        owner: sum(row.owner_name == owner for row in rows) for owner in ("alice", "bob")
    }


def test_key_that_was_deleted_keeps_its_name(staff: Client, rows: list[UsageRecord]) -> None:
    page = staff.get(reverse(USAGE), {"range": "30d"}).content.decode()
    assert "ci (deleted)" in page


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"range": "custom"}, "Give the first day."),
        ({"range": "custom", "start": "2026-02-30"}, "Enter a valid date."),
        ({"range": "custom", "start": "2026-03-02", "end": "2026-03-01"}, "lies after the last"),
        ({"range": "custom", "start": "0001-01-01", "end": "0001-01-02"}, "Ensure this value is"),
        ({"range": "custom", "start": "9999-12-30", "end": "9999-12-31"}, "Ensure this value is"),
        ({"range": "custom", "start": "2999-12-30"}, "lies after the last"),
        ({"range": "90d", "grain": "hour"}, "Hours are shown for at most 7 days."),
        ({"range": "ever"}, "Select a valid choice."),
        ({"group": "colour"}, "Select a valid choice."),
    ],
)
def test_wrong_filter_is_told_beside_its_field(
    query: dict[str, str], words: str, staff: Client
) -> None:
    reply = staff.get(reverse(USAGE), query)
    assert reply.status_code == 200
    assert words in reply.content.decode()


def test_empty_time_says_what_to_do(staff: Client) -> None:
    page = staff.get(reverse(USAGE)).content.decode()
    assert "No request ended in this time." in page


def test_owner_of_no_key_has_no_requests(staff: Client, rows: list[UsageRecord]) -> None:
    page = staff.get(reverse(USAGE), {"owner": "nobody"}).content.decode()
    assert "No request ended in this time." in page
    assert "No request matches." in staff.get(reverse(LOG), {"owner": "nobody"}).content.decode()


@pytest.mark.parametrize("name", [USAGE, LOG])
def test_stranger_and_staff_without_permission_see_nothing(name: str, client: Client) -> None:
    assert client.get(reverse(name)).status_code == 302
    client.force_login(User.objects.create_user("x", is_staff=True))
    assert client.get(reverse(name)).status_code == 403


@pytest.mark.parametrize("name", [USAGE, LOG])
def test_viewer_opens_the_pages(
    name: str, viewer: Client, rows: list[UsageRecord],
    django_assert_max_num_queries: type[CaptureQueriesContext],
) -> None:  # fmt: skip
    with django_assert_max_num_queries(MOST_QUERIES):
        assert viewer.get(reverse(name)).status_code == 200


# The request log


@pytest.mark.parametrize(
    "query",
    [{}, {"key": "kaaaaaaa"}, {"owner": "bob"}, {"status": "error"}, {"status": "failed"},
     {"adapter": "pirate"}, {"model": "large", "status": "ok"},
     {"key": "kbbbbbbb", "adapter": "pirate"}],
)  # fmt: skip
def test_pages_of_the_log_hold_each_matching_row_once_newest_first(
    query: dict[str, str], rows: list[UsageRecord], django_assert_max_num_queries: Any
) -> None:
    form = log.LogForm(query)
    assert form.is_valid()
    filters = log.filters_of(form)
    seen: list[UsageRecord] = []
    after = None
    while True:
        with django_assert_max_num_queries(2):
            page = log.page_read(filters, after, 20)
        seen += page.rows
        if page.older is None:
            break
        after = log.Cursor.read(str(page.older))
        assert after is not None
    field = {"owner": "owner_name", "key": "key_id"}
    query = {name: "error" if value == "failed" else value for name, value in query.items()}
    wanted = [
        row.rid
        for row in rows
        if all(getattr(row, field.get(name, name)) == value for name, value in query.items())
    ]
    assert sorted(row.rid for row in seen) == sorted(wanted)
    ends = [(row.ended_at, row.pk) for row in seen]
    assert ends == sorted(ends, reverse=True)


def test_log_page_opens_within_its_queries_and_keeps_filters(
    staff: Client, rows: list[UsageRecord], monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: type[CaptureQueriesContext],
) -> None:  # fmt: skip
    monkeypatch.setattr(log, "PAGE", 20)
    with django_assert_max_num_queries(MOST_QUERIES):
        page = staff.get(reverse(LOG), {"owner": "bob", "status": "ok"}).content.decode()
    assert "owner=bob&amp;status=ok&amp;after=" in page


def test_detail_shows_waiting_prefill_and_decode(staff: Client, rows: list[UsageRecord]) -> None:
    row = next(row for row in rows if row.queue_ms and row.completion_tokens)
    page = staff.get(reverse("console:request", args=[row.rid])).content.decode()
    for name in ("Queue", "Prefill", "Decode"):
        assert f"pg-span-{name}" in page
    assert f"{row.total_ms - row.ttft_ms} ms" in page
    assert staff.get(reverse("console:request", args=["none"])).status_code == 404


def test_newer_rows_are_found_once(rows: list[UsageRecord]) -> None:
    before = log.last_pk()
    stored_rows(timezone.now(), 9, seed=2)
    everything = log.newer_than(log.Filters(), before)
    assert [row.rid for row in everything] == [f"req-2-{n}" for n in range(9)]
    assert log.newer_than(log.Filters(), everything[-1].pk) == []


# Exports


@pytest.mark.django_db(transaction=True)
async def test_exports_stream_every_row_and_no_formula(async_client: AsyncClient) -> None:
    from asgiref.sync import sync_to_async

    rows = await sync_to_async(stored_rows)(timezone.now(), 40)
    user = await sync_to_async(User.objects.create_superuser)("boss")
    await sync_to_async(async_client.force_login)(user)
    reply = await async_client.post(reverse("console:log-export"), {"key": "kccccccc"})
    assert reply.headers["Content-Disposition"].startswith("attachment")
    lines = list(csv.DictReader(io.StringIO(await _text(reply))))
    assert sorted(line["rid"] for line in lines) == sorted(
        row.rid for row in rows if row.key_id == "kccccccc"
    )
    assert {line["key_name"] for line in lines} == {"'=SUM(A1)"}
    reply = await async_client.post(reverse("console:usage-export"), {"range": "30d"})
    sums = list(csv.DictReader(io.StringIO(await _text(reply))))
    assert sum(int(line["requests"]) for line in sums) == 40
    assert sum(int(line["micros"]) for line in sums) == sum(row.micros for row in rows)


@pytest.mark.parametrize("name", ["console:log-export", "console:usage-export"])
def test_exports_are_posts(name: str, staff: Client) -> None:
    assert staff.get(reverse(name)).status_code == 405


def test_export_of_too_many_rows_is_refused_with_the_number(
    staff: Client, rows: list[UsageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.export.MOST_ROWS", 10)
    reply = staff.post(reverse("console:log-export"))
    assert reply.status_code == 400
    assert "up to 150 requests; an export holds at most 10" in reply.content.decode()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_formula_gets_an_apostrophe(text: str) -> None:
    assert safe(text) == f"'{text}"
    assert safe(-1) == -1
    assert safe("plain") == "plain"


# Figures from sums


def test_sums_of_any_span_equal_the_rows(rows: list[UsageRecord]) -> None:
    today = timezone.now().date()
    spans = [last("24h", timezone.now()), between(today - dt.timedelta(days=3), today, "hour")]
    for span in spans:
        inside = [row for row in rows if span.start <= row.ended_at < span.end]
        cells = report.cells(span, Which())
        assert sum(cell.amounts["requests"] for cell in cells) == len(inside)
        assert sum(cell.amounts["micros"] for cell in cells) == sum(row.micros for row in inside)
        per_key = {line.name: line.amounts["requests"] for line in report.per_key(span, Which())}
        assert per_key == {
            key: count for key in KEYS if (count := sum(row.key_id == key for row in inside))
        }
        heat = report.heat(span, Which())
        assert sum(map(sum, heat)) == len(inside)
        row = inside[0]
        assert heat[row.ended_at.weekday()][row.ended_at.hour] >= 1


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentiles_lie_in_the_bucket_of_the_true_one(
    share: float, rows: list[UsageRecord]
) -> None:
    span = last("30d", timezone.now())
    steps = report.latencies(span, Which())
    counts = [sum(found["ttft"][i] for _, found in steps.values()) for i in range(BUCKETS)]
    waits = sorted(row.ttft_ms for row in rows if row.completion_tokens)
    true = waits[max(0, -(-int(share * 1000) * len(waits) // 1000) - 1)]
    shown = quantile(counts, share)
    assert shown is not None
    assert abs(BOUNDS_MS.index(int(shown)) - bucket(true)) <= 1


def test_span_before_has_the_same_length() -> None:
    span = between(dt.date(2026, 3, 1), dt.date(2026, 3, 10))
    assert span.before() == Period(
        dt.datetime(2026, 2, 19, tzinfo=dt.UTC), dt.datetime(2026, 3, 1, tzinfo=dt.UTC), "day"
    )
    assert len(span.steps()) == 10


def test_two_days_are_shown_by_the_hour() -> None:
    form = UsageForm({"range": "custom", "start": "2026-03-01", "end": "2026-03-02"})
    assert form.is_valid()
    assert form.period(timezone.now()).grain == "hour"


def connection_of() -> Any:
    from django.db import connection

    return connection


async def _text(reply: Any) -> str:
    return "".join([part.decode() async for part in reply.streaming_content])
