"""Runs a kernel suite in a process of its own: Triton reads TRITON_INTERPRET once, at its import,
and another test of this session may have imported it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
LIMIT_S = 600  # of a crowded machine; alone on one core each suite takes under a minute


def at_volume(case: Any) -> Any:
    """A case that only `tests/volume` runs."""
    return pytest.param(case, marks=pytest.mark.volume)


def run(*command: str, limit_s: float = LIMIT_S, **environ: str) -> None:
    """`python *command` from the root of the repository; its words are shown when it fails."""
    clean = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**clean, "OMP_NUM_THREADS": "1", **environ},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def interpreted(marks: str) -> None:
    """Run the interpreter's tests of these marks."""
    suite = ("-q", "-p", "no:cacheprovider", "-m", marks, "tests/unit/kernels/interpreted")
    run("-m", "pytest", *suite, TRITON_INTERPRET="1")
