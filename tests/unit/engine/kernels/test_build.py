"""Building the compiled kernels: once, atomically, and not at all where nothing can build them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from engine.kernels import cpu
from engine.kernels.cpu import build
from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.packed_gemm import pack

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def fake_compiler(folder: Path, script: str) -> None:
    tool = folder / "cc"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


@needs_compiler
def test_second_build_finds_the_first_and_leaves_nothing_else(tmp_path: Path) -> None:
    first = build.build_library(tmp_path / "new")
    written = first.stat().st_mtime_ns
    assert build.build_library(tmp_path / "new") == first
    assert first.stat().st_mtime_ns == written
    assert list((tmp_path / "new").iterdir()) == [first]


def test_no_compiler_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.NoCompiler, match="not on PATH"):
        build.build_library(tmp_path)


def test_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_compiler(tmp_path, "echo unknown option >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(build.NoCompiler, match="unknown option"):
        build.build_library(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_folder_that_cannot_be_written_means_no_library(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(build.NoCompiler, match="cannot write"):
        build.build_library(tmp_path / "file" / "cache")


def test_without_compiled_kernels_weights_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "library", lambda: None)
    monkeypatch.setattr("engine.kernels.packed_gemm.library", lambda: None)
    packed = pack(torch.ones(3, 4, dtype=torch.bfloat16), None)
    assert packed.panels is None
    assert packed.plain_NK is not None
    assert packed.plain_NK.dtype == torch.float32


def test_threads_share_the_work_without_changing_a_bit(lib: CpuLibrary, tmp_path: Path) -> None:
    """A copy of the library has a pool of its own, so that other tests keep one thread."""
    copy = tmp_path / "kernels-threads.so"
    shutil.copy(lib.path, copy)
    threaded = CpuLibrary(copy)
    assert threaded.set_threads(3) == 3
    weight, x = pack(torch.randn(700, 64), None), torch.randn(50, 64)
    expected = lib.packed_gemm(x, weight)
    for _ in range(200):
        assert torch.equal(threaded.packed_gemm(x, weight), expected)
