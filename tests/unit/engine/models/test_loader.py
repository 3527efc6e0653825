"""Loading: what does not fit is named; shards, dummy weights and merged matrices are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import EngineStartError
from engine.kernels.packed_gemm import packed_gemm
from engine.models.checkpoint import Checkpoint
from engine.models.loader import (
    DummySource,
    WeightLoader,
    open_checkpoint,
    tensor_shapes,
    weight_bytes,
)
from engine.models.spec import ModelSpec, RopeSpec

SPEC = ModelSpec(
    architecture="LlamaForCausalLM",
    num_layers=2,
    hidden=32,
    ffn=48,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    vocab_size=40,
    max_len=64,
    norm_eps=1e-6,
    rope=RopeSpec(kind="default", theta=10000.0, dim=8, trained_len=64),
    qkv_bias=True,
)
Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(shape) for name, shape in tensor_shapes(SPEC).items()}


def test_merged_matrices_compute_what_the_parts_do(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    save_file(tensors, tmp_path / "model.safetensors")
    weights = WeightLoader(SPEC, open_checkpoint(SPEC, tmp_path), torch.float32).load()
    x = torch.randn(3, SPEC.hidden)
    prefix = "model.layers.1.self_attn."
    parts = [
        x @ tensors[f"{prefix}{p}_proj.weight"].T + tensors[f"{prefix}{p}_proj.bias"] for p in "qkv"
    ]
    found = packed_gemm(x, weights.layers[1].qkv)
    torch.testing.assert_close(found, torch.cat(parts, dim=1), atol=1e-5, rtol=1e-5)


def test_shards_are_found_through_the_index(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    names = sorted(tensors)
    places = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(names)}
    for place in set(places.values()):
        save_file({n: tensors[n] for n in names if places[n] == place}, tmp_path / place)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    checkpoint = open_checkpoint(SPEC, tmp_path)
    assert torch.equal(checkpoint.read(Q_PROJ), tensors[Q_PROJ])


def test_missing_unknown_and_misshapen_tensors_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    del tensors["model.norm.weight"]
    tensors["model.extra.weight"] = torch.zeros(3)
    tensors[Q_PROJ] = torch.zeros(5, 7)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(EngineStartError) as caught:
        open_checkpoint(SPEC, tmp_path)
    text = str(caught.value)
    assert "missing: model.norm.weight" in text
    assert "unknown: model.extra.weight" in text
    assert f"{Q_PROJ} is [5, 7], expected [32, 32]" in text


def test_tied_checkpoint_may_hold_a_copy_of_the_head(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    import dataclasses

    save_file(tensors, tmp_path / "model.safetensors")
    tied = dataclasses.replace(SPEC, tied=True)
    assert "lm_head.weight" in open_checkpoint(tied, tmp_path).shapes


def test_truncated_file_is_called_corrupt(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngineStartError, match="corrupt"):
        Checkpoint(tmp_path)


def test_no_weights_at_all_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match=r"model\.safetensors"):
        Checkpoint(tmp_path)


def test_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(EngineStartError, match=r"gone\.safetensors"):
        Checkpoint(tmp_path)


def test_index_may_not_leave_its_folder(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    with pytest.raises(EngineStartError, match="outside"):
        Checkpoint(tmp_path)


def test_quantized_tensor_type_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    tensors[Q_PROJ] = torch.zeros(32, 32, dtype=torch.int8)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(EngineStartError, match="I8"):
        Checkpoint(tmp_path)


def test_dummy_weights_repeat_and_progress_reaches_the_total() -> None:
    seen: list[tuple[int, int]] = []
    first = WeightLoader(
        SPEC, DummySource(SPEC, 3), torch.bfloat16, lambda done, total: seen.append((done, total))
    ).load()
    second = WeightLoader(SPEC, DummySource(SPEC, 3), torch.bfloat16).load()
    assert torch.equal(first.embed, second.embed)
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_weight_bytes_is_what_loading_holds() -> None:
    weights = WeightLoader(SPEC, DummySource(SPEC, 0), torch.float32).load()
    packed = [weights.lm_head]
    for layer in weights.layers:
        packed += [layer.qkv, layer.o, layer.gate_up, layer.down]
    held = weights.embed.numel() * 4 + sum(p.nbytes for p in packed)
    padding = sum(-p.num_out % 32 * p.num_in * 4 for p in packed)
    norms = (2 * SPEC.num_layers + 1) * SPEC.hidden * 4
    assert held - padding + norms == weight_bytes(SPEC, torch.float32)
