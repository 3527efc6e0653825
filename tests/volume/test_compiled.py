"""Each kernel compiled ahead of time in every dtype, padded head size and rank bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kernels.apart import run

LIMIT_S = 3600


@pytest.mark.timeout(LIMIT_S)
def test_every_variant_of_every_kernel_compiles_within_its_bounds(tmp_path: Path) -> None:
    report = ("-m", "tests.unit.kernels.compile_report", "wide")
    run(*report, limit_s=LIMIT_S, TRITON_CACHE_DIR=str(tmp_path))
