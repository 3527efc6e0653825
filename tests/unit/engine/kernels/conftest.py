"""Kernels are compared with their references wherever a C compiler exists."""

from __future__ import annotations

import pytest

from engine.kernels import cpu
from engine.kernels.cpu.bindings import CpuLibrary


@pytest.fixture(scope="session")
def lib() -> CpuLibrary:
    """The compiled kernels; tests that need them skip where there is no compiler."""
    library = cpu.library()
    if library is None:
        pytest.skip("no C compiler: the references are all there is")
    return library
