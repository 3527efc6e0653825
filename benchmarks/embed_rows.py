"""Texts a second that one core or two embed, beside sentence-transformers on the same texts."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row

HERE = Path(__file__).parent
TEXTS = 512


def seconds(engine: str, repeat: int, threads: int) -> list[float]:
    """Time of each repeat over all texts."""
    arguments = map(str, (HERE / "engines" / f"{engine}.py", repeat, TEXTS, threads))
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        check=True,
    )
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    yield _row("embed-ragged", repeat, 1)
    yield _row("embed-ragged-2", repeat, 2)


def _row(name: str, repeat: int, threads: int) -> Row:
    """Ours first and last: the pair shows how much the machine moved in between."""
    first = seconds("embed_pagoda", repeat, threads)
    control = statistics.median(seconds("embed_sentence_transformers", repeat, threads))
    again = seconds("embed_pagoda", repeat, threads)
    return Row(
        row=name,
        unit="texts/s",
        ours=TEXTS / statistics.median(first + again),
        control="sentence-transformers",
        control_value=TEXTS / control,
        goal=2.0,
        detail={"model": "all-MiniLM-L6-v2", "threads": threads, "first": first, "again": again},
    )
