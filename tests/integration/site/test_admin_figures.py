"""The benchmark of the admin's pages at a small size: its data are right, no page asks too much."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from apps.usage.models import UsageHour, UsageRecord
from apps.usage.services import usage_rebuild
from benchmarks.admin_data import fill
from benchmarks.admin_pages import measure, pages

pytestmark = pytest.mark.django_db
MOST_QUERIES = 12
ROWS, DAYS = 1500, 2


@pytest.fixture
def filled() -> None:
    fill(rows=ROWS, end=timezone.now().replace(microsecond=0), keys=40, days=DAYS)


def test_sums_made_by_sql_are_those_of_the_settlers_code(filled: None) -> None:
    assert UsageRecord.objects.count() == ROWS
    today = timezone.now().date()
    for age in range(DAYS + 1):
        assert usage_rebuild(day=today - dt.timedelta(days=age))
    assert sum(UsageHour.objects.filter(key_id="").values_list("requests", flat=True)) == ROWS


def test_every_page_keeps_to_its_queries(filled: None) -> None:
    User.objects.create_superuser("bench")
    asked = {name: measure(path, 1)["queries"] for name, path in pages()}
    assert {name: count for name, count in asked.items() if count > MOST_QUERIES} == {}
