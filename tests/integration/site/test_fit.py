"""The fit check says what the engine's own memory plan says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from apps.models.fit import fit_check
from engine.models.loader import weight_bytes
from engine.models.registry import read_spec
from inference_site.launcher import random_model

FREE = 4 << 30


def with_header(header: bytes) -> Callable[[Path], int]:
    """Writes a weight file with this header and nothing behind it."""
    text = len(header).to_bytes(8, "little") + header
    return lambda folder: (folder / "model.safetensors").write_bytes(text)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit") / "tiny"
    random_model.write(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_counted_as_the_loader_counts_them(checkpoint: Path, dtype: str) -> None:
    fit = fit_check(source=str(checkpoint), revision="", options={"dtype": dtype}, free_bytes=FREE)
    assert fit.weight_bytes == weight_bytes(read_spec(checkpoint), getattr(torch, dtype))
    assert fit.fits
    assert fit.kv_bytes > 0


def test_what_does_not_fit_is_said_in_numbers(checkpoint: Path) -> None:
    fit = fit_check(source=str(checkpoint), revision="", options={}, free_bytes=1 << 20)
    assert not fit.fits
    assert "1 MiB of memory are free" in fit.cause


@pytest.mark.parametrize(
    ("break_it", "cause"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no safetensors weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 99), "is corrupt"),
        (with_header(b"[]"), "is corrupt"),
        (with_header(b'{"a": {"dtype": "F32"}}'), "is corrupt"),
        (with_header(b'{"a": {"shape": "xy"}}'), "is corrupt"),
        (with_header(b"[" * 200_000), "is corrupt"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
    ],
)
def test_broken_checkpoint_is_an_answer(break_it: object, cause: str, tmp_path: Path) -> None:
    random_model.write(tmp_path / "tiny")
    break_it(tmp_path / "tiny")  # type: ignore[operator]
    fit = fit_check(source=str(tmp_path / "tiny"), revision="", options={}, free_bytes=FREE)
    assert cause in fit.cause
    assert fit.fix
