"""Texts a second that one core embeds, beside sentence-transformers on the same texts."""

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


def seconds(engine: str, repeat: int) -> list[float]:
    """Time of each repeat over all texts."""
    done = subprocess.run(
        [sys.executable, str(HERE / "engines" / f"{engine}.py"), str(repeat), str(TEXTS)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    """Ours first and last: the pair shows how much the machine moved in between."""
    first = seconds("embed_pagoda", repeat)
    control = statistics.median(seconds("embed_sentence_transformers", repeat))
    again = seconds("embed_pagoda", repeat)
    yield Row(
        row="embed-ragged",
        unit="texts/s",
        ours=TEXTS / statistics.median(first + again),
        control="sentence-transformers",
        control_value=TEXTS / control,
        goal=2.0,
        detail={"model": "all-MiniLM-L6-v2", "first": first, "again": again},
    )
