"""Each kernel compiled ahead of time for the GPUs we name, without one.

All dtypes, head sizes and ranks: tests/volume/test_compiled.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kernels.apart import LIMIT_S, run


@pytest.mark.timeout(LIMIT_S)
def test_every_kernel_compiles_within_its_bounds(tmp_path: Path) -> None:
    run("-m", "tests.unit.kernels.compile_report", TRITON_CACHE_DIR=str(tmp_path))
