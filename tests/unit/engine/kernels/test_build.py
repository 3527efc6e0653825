"""Building the compiled kernels: once, atomically, and not at all where nothing can build them."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from engine.kernels import cpu
from engine.kernels.cpu import build
from engine.kernels.cpu.__main__ import main
from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.packed_gemm import pack


def fake_compiler(folder: Path, script: str) -> None:
    tool = folder / "cc"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def test_second_build_finds_the_first_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real compiler is used by every test of the `lib` fixture; here each call is recorded."""
    calls = tmp_path / "calls"
    fake_compiler(tmp_path, f'echo run >> {calls}; for last; do :; done; echo built > "$last"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    first = build.build_library(tmp_path / "new")
    assert build.build_library(tmp_path / "new") == first
    assert first.read_text() == "built\n"
    assert calls.read_text() == "run\n"
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


def test_library_that_cannot_be_mapped_means_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a home mounted noexec."""
    (tmp_path / "kernels.so").write_text("not a library")
    monkeypatch.setattr(cpu, "build_library", lambda folder: tmp_path / "kernels.so")
    with monkeypatch.context() as patch:
        patch.setattr(cpu._State, "tried", False)
        patch.setattr(cpu._State, "loaded", None)
        assert cpu.library() is None


def test_command_builds_where_it_is_told_and_bears_a_machine_without_compiler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_compiler(tmp_path, 'for last; do :; done; echo built > "$last"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert main([str(tmp_path)]) == 0
    (built,) = tmp_path.glob("kernels-*.so")
    assert str(built) in capsys.readouterr().out
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert main([str(tmp_path)]) == 0
    assert "torch will compute instead" in capsys.readouterr().err


def own_copy(lib: CpuLibrary, folder: Path) -> CpuLibrary:
    """A copy of the library has a pool of its own, so that other tests keep one thread."""
    return CpuLibrary(Path(shutil.copy(lib.path, folder / "kernels-threads.so")))


def test_threads_share_the_work_without_changing_a_bit(lib: CpuLibrary, tmp_path: Path) -> None:
    threaded = own_copy(lib, tmp_path)
    assert threaded.set_threads(3) == 3
    weight, x = pack(torch.randn(700, 64), None), torch.randn(50, 64)
    expected = lib.packed_gemm(x, weight)
    for _ in range(200):
        assert torch.equal(threaded.packed_gemm(x, weight), expected)


def test_pool_that_grows_after_work_gives_the_newcomers_only_new_work(
    lib: CpuLibrary, tmp_path: Path
) -> None:
    threaded = own_copy(lib, tmp_path)
    weight, x = pack(torch.randn(700, 64), None), torch.randn(50, 64)
    expected, left = lib.packed_gemm(x, weight), torch.zeros(1)
    for threads in (2, 3, 5, 8):
        assert threaded.set_threads(threads) == threads
        time.sleep(0.02)  # enough for a newcomer to repeat the last call's work
        assert not left.any()
        for _ in range(50):
            left = threaded.packed_gemm(x, weight)
            assert torch.equal(left, expected)
        left.zero_()


def test_forked_child_computes_alone(lib: CpuLibrary, tmp_path: Path) -> None:
    threaded = own_copy(lib, tmp_path)
    threaded.set_threads(3)
    weight, x = pack(torch.randn(700, 64), None), torch.randn(50, 64)
    expected = threaded.packed_gemm(x, weight)
    wanted = expected.numpy().tobytes()
    child = os.fork()
    if child == 0:  # nothing of pytest may run on in here, whatever happens
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)  # a child that waits for threads it does not have is killed
            same = threaded.packed_gemm(x, weight).numpy().tobytes() == wanted
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.equal(threaded.packed_gemm(x, weight), expected)
