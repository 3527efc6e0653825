"""How long a `serve` takes from start to the first answer, set-up done."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row
from tests.served import serving

STARTS = 5


def seconds(home: Path) -> float:
    began = time.perf_counter()
    with serving(home) as served:
        model = served.get("/v1/models")["data"][0]["id"]
        served.post("/v1/completions", {"model": model, "prompt": "Hello", "max_tokens": 1})
        return time.perf_counter() - began


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    """The first start makes the home (database, secrets, model) and is not counted."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        first, *times = [seconds(Path(home) / "home") for _ in range(STARTS + 1)]
    yield Row(
        row="start",
        unit=f"s from start to first answer, median of {STARTS}",
        ours=statistics.median(times),
        goal=15.0,
        at_most=True,
        detail={"first_ever": first, "all": [round(t, 2) for t in times]},
    )
