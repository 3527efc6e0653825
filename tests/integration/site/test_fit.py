"""The fit check says what the engine's own memory plan says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from apps.models.fit import Room, fit_check, rooms_read
from apps.models.models import Host
from engine.models.loader import weight_bytes
from engine.models.registry import read_spec
from inference_site.launcher import random_model

ROOMS = [Room(free_bytes=4 << 30)]
GPU = {"name": "NVIDIA H200", "memory_bytes": 140 << 30, "free_bytes": 130 << 30, "capability": 9.0}


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
    fit = fit_check(source=str(checkpoint), revision="", options={"dtype": dtype}, rooms=ROOMS)
    assert fit.weight_bytes == weight_bytes(read_spec(checkpoint), getattr(torch, dtype))
    assert fit.fits
    assert fit.kv_bytes > 0


def test_what_does_not_fit_is_said_in_numbers(checkpoint: Path) -> None:
    fit = fit_check(
        source=str(checkpoint), revision="", options={}, rooms=[Room(free_bytes=1 << 20)]
    )
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
    fit = fit_check(source=str(tmp_path / "tiny"), revision="", options={}, rooms=ROOMS)
    assert cause in fit.cause
    assert fit.fix


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tied_table_of_embeddings_is_counted_as_the_loader_counts_it(
    checkpoint: Path, dtype: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "tied")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("lm_head.weight", None)
    save_file(tensors, folder / "model.safetensors")
    for device in (torch.device("cpu"), torch.device("cuda")):
        rooms = [Room(free_bytes=4 << 30)]
        if device.type == "cuda":
            rooms.append(Room(free_bytes=4 << 30, gpu="a GPU", gpu_bytes=4 << 30))
        fit = fit_check(source=str(folder), revision="", options={"dtype": dtype}, rooms=rooms)
        spec = read_spec(folder)
        assert spec.tied
        assert fit.weight_bytes == weight_bytes(spec, getattr(torch, dtype), device)


@pytest.mark.django_db
def test_model_goes_to_the_gpu_that_an_agent_reported(checkpoint: Path) -> None:
    Host.objects.create(name="node", free_bytes=60 << 30, gpus=[GPU, GPU])
    small = {"gpu_memory_utilization": 0.1, "max_num_seqs": 8}
    fit = fit_check(source=str(checkpoint), revision="", options=small, rooms=rooms_read())
    assert fit.place == "NVIDIA H200"
    assert fit.free_bytes == (14 << 30) - (10 << 30)  # a tenth of 140 GiB, of which 10 are taken
    whole = fit_check(source=str(checkpoint), revision="", options={}, rooms=rooms_read())
    assert whole.free_bytes == (126 << 30) - (10 << 30)
    on_cpu = {"device": "cpu"}
    fit = fit_check(source=str(checkpoint), revision="", options=on_cpu, rooms=rooms_read())
    assert (fit.place, fit.free_bytes) == ("host", 60 << 30)


@pytest.mark.django_db
@pytest.mark.parametrize("gpus", [[], [GPU | {"capability": 7.5}]])
def test_without_a_gpu_that_can_compute_auto_means_the_host(
    checkpoint: Path, gpus: list[dict[str, object]]
) -> None:
    Host.objects.create(name="node", free_bytes=4 << 30, gpus=gpus)
    fit = fit_check(source=str(checkpoint), revision="", options={}, rooms=rooms_read())
    assert (fit.place, fit.fits) == ("host", True)
    asked = {"device": "cuda"}
    fit = fit_check(source=str(checkpoint), revision="", options=asked, rooms=rooms_read())
    assert fit.cause == "No host reports a GPU that engines could use."


def test_model_that_embeds_needs_its_weights_only(tmp_path: Path) -> None:
    config = {"architectures": ["BertModel"], "hidden_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"a": torch.zeros(1 << 22)}, tmp_path / "model.safetensors")
    fit = fit_check(source=str(tmp_path), revision="", options={}, rooms=ROOMS)
    assert (fit.fits, fit.weight_bytes, fit.kv_bytes) == (True, 1 << 24, 0)
    small = [Room(free_bytes=1 << 20)]
    fit = fit_check(source=str(tmp_path), revision="", options={}, rooms=small)
    assert fit.too_big
    assert fit.cause == "The weights need 16 MiB, but 1 MiB of memory are free."
