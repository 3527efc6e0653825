"""Kernels are compared with their references wherever a C compiler exists."""

from __future__ import annotations

import shutil

import pytest

from engine.kernels import cpu
from engine.kernels.cpu import build
from engine.kernels.cpu.bindings import CpuLibrary


@pytest.fixture(scope="session")
def lib() -> CpuLibrary:
    """The compiled kernels; tests that need them skip where there is no compiler."""
    library = cpu.library()
    if library is None:
        pytest.skip("no C compiler: the references are all there is")
    return library


@pytest.fixture(scope="session")
def rounding_lib(tmp_path_factory: pytest.TempPathFactory) -> CpuLibrary:
    """The kernels of a CPU that multiplies bfloat16 itself, its instruction emulated if need be."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the references are all there is")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_FLAGS", [*build._FLAGS, "-O1", "-DPAGODA_EMULATE_BF16"])
        return CpuLibrary(build.build_library(tmp_path_factory.mktemp("kernels")))
