"""Request figures of /metrics come from the daily sums."""

from __future__ import annotations

from datetime import date

import pytest

from apps.models.health import Sight
from apps.models.selectors import Placement
from apps.usage.metrics import model_sums_read
from apps.usage.models import UsageDay
from inference_site.metrics import exposition

pytestmark = pytest.mark.django_db


def test_sums_of_all_days_and_only_of_keyless_rows() -> None:
    for day in (1, 2):
        for key in ("", "abc"):
            UsageDay.objects.create(
                day=date(2026, 1, day), key_id=key, model="m", status="ok", requests=2,
                total_ms=500, total_03=1, total_20=1,
            )  # fmt: skip
    page = exposition(Sight(Placement()), model_sums_read()).decode()
    labels = 'model_name="m",status="ok"'
    assert f"pagoda_requests_total{{{labels}}} 4.0" in page
    name = "vllm:e2e_request_latency_seconds"
    assert f'{name}_bucket{{le="0.006",{labels}}} 2.0' in page
    assert f'{name}_bucket{{le="+Inf",{labels}}} 4.0' in page
    assert f"{name}_sum{{{labels}}} 1.0" in page
