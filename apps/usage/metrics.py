"""Request figures for /metrics, read from the daily sums: exact, and kept over restarts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from django.db.models import Sum
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from apps.usage.histogram import BOUNDS_MS, METRICS, columns
from apps.usage.models import UsageDay

AMOUNTS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "total_ms")
HISTOGRAMS = {
    "ttft": ("vllm:time_to_first_token_seconds", "Admission to the first token."),
    "itl": ("vllm:request_time_per_output_token_seconds", "Mean time per token after the first."),
    "total": ("vllm:e2e_request_latency_seconds", "Admission to the end."),
}


@dataclass(frozen=True, slots=True)
class ModelSums:
    """All time, one model and one status."""

    model: str
    status: str
    amounts: dict[str, int]
    buckets: dict[str, list[int]]  # of each metric, not cumulated


def model_sums_read() -> list[ModelSums]:
    """One query over the rows that cover all keys: a few per day and model."""
    names = [*AMOUNTS, *(name for metric in METRICS for name in columns(metric))]
    sums = {f"sum_{name}": Sum(name) for name in names}
    grouped = UsageDay.objects.filter(key_id="").values("model", "status").annotate(**sums)
    rows: Iterable[dict[str, Any]] = grouped.order_by("model", "status")  # type: ignore[assignment]
    return [
        ModelSums(
            model=row["model"],
            status=row["status"],
            amounts={name: row[f"sum_{name}"] for name in AMOUNTS},
            buckets={m: [row[f"sum_{name}"] for name in columns(m)] for m in METRICS},
        )
        for row in rows
    ]


class UsageCollector:
    """Turns the sums into metric families."""

    def __init__(self, sums: Iterable[ModelSums]) -> None:
        self._sums = tuple(sums)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "pagoda_requests", "Ended requests by status.", labels=["model_name", "status"]
        )
        cached = CounterMetricFamily(
            "vllm:prompt_tokens_cached", "Prompt tokens reused.", labels=["model_name", "status"]
        )
        for row in self._sums:
            requests.add_metric([row.model, row.status], row.amounts["requests"])
            cached.add_metric([row.model, row.status], row.amounts["cached_tokens"])
        yield requests
        yield cached
        for metric in METRICS:
            yield self._histogram(metric)

    def _histogram(self, metric: str) -> Metric:
        """Without a sum where none is stored: quantiles need only the buckets."""
        name, text = HISTOGRAMS[metric]
        family = HistogramMetricFamily(name, text, labels=["model_name", "status"])
        bounds = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
        for row in self._sums:
            counts = list(zip(bounds, accumulate(row.buckets[metric]), strict=True))
            total = row.amounts["total_ms"] / 1000 if metric == "total" else None
            family.add_metric([row.model, row.status], counts, sum_value=total)
        return family
