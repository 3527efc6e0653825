"""How long `serve` takes from its start to the first answer, and what it costs when idle."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.rows import Row
from tests.served import Served, serving

STARTS = 5
IDLE_S = 30.0
SETTLE_S = 10.0  # caches warm and first requests settled


def seconds(home: Path) -> float:
    began = time.perf_counter()
    with serving(home) as served:
        answer(served)
        return time.perf_counter() - began


def answer(served: Served) -> None:
    model = served.get("/v1/models")["data"][0]["id"]
    served.post("/v1/completions", {"model": model, "prompt": "Hello", "max_tokens": 1})


def idle_share(home: Path) -> dict[str, float]:
    """Percent of one core per process over `IDLE_S`, by the kernel's count."""
    with serving(home) as served:
        answer(served)
        time.sleep(SETTLE_S)
        family = [psutil.Process(served.process.pid), *served.children()]
        before = {p.pid: cpu_s(p) for p in family}
        time.sleep(IDLE_S)
        return {f"{p.name()} {p.pid}": 100 * (cpu_s(p) - before[p.pid]) / IDLE_S for p in family}


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    """The first start makes the home (database, secrets, model) and is not counted."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        home = Path(scratch) / "home"
        first, *times = [seconds(home) for _ in range(STARTS + 1)]
        idle = idle_share(home)
    yield Row(
        row="start",
        unit=f"s from start to first answer, median of {STARTS}",
        ours=statistics.median(times),
        goal=15.0,
        at_most=True,
        detail={"first_ever": first, "all": [round(t, 2) for t in times]},
    )
    yield Row(
        row="idle",
        unit=f"% of one core, all processes of an idle serve, over {IDLE_S:.0f} s",
        ours=sum(idle.values()),
        goal=5.0,
        at_most=True,
        detail={name: round(share, 2) for name, share in idle.items()},
    )
