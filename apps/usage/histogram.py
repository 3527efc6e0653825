"""Latency histograms as integer columns, so that SQL adds them up on every database.

Bounds are four per factor of ten from 1 ms to 100 s, fixed for ever: rows of another layout could
not be added to these. The last bucket has no upper bound.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS_MS = (
    1, 2, 3, 6, 10, 18, 32, 56, 100, 178, 316, 562,
    1000, 1778, 3162, 5623, 10_000, 17_783, 31_623, 56_234, 100_000,
)  # fmt: skip
BUCKETS = len(BOUNDS_MS) + 1
METRICS = ("ttft", "itl", "total")


def columns(metric: str) -> list[str]:
    """Column names of one metric: `ttft_00` … `ttft_21`."""
    return [f"{metric}_{index:02}" for index in range(BUCKETS)]


def bucket(value_ms: float) -> int:
    """Index of the first bound the value does not exceed."""
    return bisect_left(BOUNDS_MS, value_ms)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Upper bound in ms of the bucket that holds the quantile; None without values."""
    total = sum(counts)
    if total == 0:
        return None
    rank, seen = share * total, 0
    for index, count in enumerate(counts):
        seen += count
        if count and seen >= rank:
            return float(BOUNDS_MS[min(index, len(BOUNDS_MS) - 1)])
    return float(BOUNDS_MS[-1])
