"""Retention deletes rows by age and leaves sums alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.usage import retention
from apps.usage.models import UsageDay, UsageHour, UsageRecord
from apps.usage.retention import usage_prune
from apps.usage.services import usage_hour_right
from inference_site.broker import broker_url
from inference_site.config import ServerSettings


@pytest.mark.django_db
def test_only_rows_past_their_days_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)  # several turns
    now = timezone.now()
    for age in (1, 89, 91, 92, 93):
        at = now - timedelta(days=age)
        UsageRecord.objects.create(rid=str(age), settled_at=at, ended_at=at, status="ok")
    UsageDay.objects.create(day=(now - timedelta(days=92)).date(), status="ok", requests=3)
    assert usage_prune(days=90) == 3
    assert set(UsageRecord.objects.values_list("rid", flat=True)) == {"1", "89"}
    assert UsageDay.objects.get().requests == 3


@pytest.mark.django_db
def test_hour_is_right_when_its_sums_equal_its_rows() -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    assert usage_hour_right(hour=hour)  # nothing on both sides
    UsageRecord.objects.create(
        rid="r", settled_at=hour, ended_at=hour, status="ok", prompt_tokens=5
    )
    assert not usage_hour_right(hour=hour)
    sums = UsageHour.objects.create(hour=hour, status="ok", requests=1, prompt_tokens=5)
    assert usage_hour_right(hour=hour)
    sums.prompt_tokens = 6
    sums.save()
    assert not usage_hour_right(hour=hour)


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        ("redis://:pw@host:6380/0", "redis://:pw@host:6380/1"),
        ("unix:///tmp/x/redis.sock", "redis+socket:///tmp/x/redis.sock?virtual_host=1"),
    ],
)
def test_jobs_have_their_own_database(redis: str, broker: str, tmp_path: Path) -> None:
    assert broker_url(ServerSettings(home=tmp_path, redis_url=redis)) == broker


def test_schedule_names_a_task_that_exists(settings: Any) -> None:
    settings.PAGODA = replace(settings.PAGODA, redis_url="redis://nowhere:1/0")
    from inference_site.celery import app

    app.loader.import_default_modules()
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
