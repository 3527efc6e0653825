"""Kernels are compared with their references wherever a C compiler exists.

`lib` is built for this CPU; the others for what it may lack or must be able to do without.
"""

from __future__ import annotations

import shutil
from pathlib import Path

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


NO_AMX = ("-mno-amx-tile", "-mno-amx-bf16")


def built_for(folder: Path, *flags: str) -> CpuLibrary:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the references are all there is")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_FLAGS", [*build._FLAGS, "-O1", *flags])
        return CpuLibrary(build.build_library(folder))


@pytest.fixture(scope="session")
def rounding_lib(tmp_path_factory: pytest.TempPathFactory) -> CpuLibrary:
    """Without AMX, bfloat16 multiplied by pairs: by the CPU's instruction or an emulation."""
    return built_for(tmp_path_factory.mktemp("pairs"), *NO_AMX, "-DPAGODA_EMULATE_BF16")


@pytest.fixture(scope="session")
def widening_lib(tmp_path_factory: pytest.TempPathFactory) -> CpuLibrary:
    """Without AMX and AVX512_BF16: bfloat16 weights are widened."""
    return built_for(tmp_path_factory.mktemp("widened"), *NO_AMX, "-mno-avx512bf16")
