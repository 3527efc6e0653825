"""Kernels without a GPU, each suite in a process of its own: Triton reads TRITON_INTERPRET once,
at its import, and another test of this session may have imported it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIMIT_S = 600  # of a crowded machine; alone on one core each takes under a minute


def run(*command: str, **environ: str) -> None:
    clean = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**clean, "OMP_NUM_THREADS": "1", **environ},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


@pytest.mark.timeout(LIMIT_S)
def test_every_kernel_equals_its_reference_in_the_interpreter() -> None:
    suite = "tests/unit/kernels/interpreted"
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", suite, TRITON_INTERPRET="1")


@pytest.mark.timeout(LIMIT_S)
def test_every_kernel_compiles_within_its_bounds(tmp_path: Path) -> None:
    run("-m", "tests.unit.kernels.compile_report", TRITON_CACHE_DIR=str(tmp_path))
