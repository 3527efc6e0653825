"""Checkpoint → `Decoder`: streams tensors, merges q/k/v and gate/up, packs for this machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engine.kernels import cpu
from engine.kernels.packed_gemm import PackedWeight, pack
from engine.models.checkpoint import Checkpoint
from engine.models.decoder import LayerWeights, ModelWeights
from engine.models.spec import ModelSpec

OnBytes = Callable[[int, int], None]  # done, total
CPU = torch.device("cpu")
_EMBED, _NORM, _HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"


def tensor_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Every tensor a checkpoint of this spec must hold, by its published name."""
    shapes: dict[str, tuple[int, ...]] = {
        _EMBED: (spec.vocab_size, spec.hidden),
        _NORM: (spec.hidden,),
    }
    if not spec.tied:
        shapes[_HEAD] = (spec.vocab_size, spec.hidden)
    for i in range(spec.num_layers):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in _layer_shapes(spec).items()}
    return shapes


def _layer_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    hidden = spec.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    linears = {
        "self_attn.q_proj": (spec.q_size, hidden, spec.qkv_bias),
        "self_attn.k_proj": (spec.kv_size, hidden, spec.qkv_bias),
        "self_attn.v_proj": (spec.kv_size, hidden, spec.qkv_bias),
        "self_attn.o_proj": (hidden, spec.q_size, spec.o_bias),
        "mlp.gate_proj": (spec.ffn, hidden, spec.mlp_bias),
        "mlp.up_proj": (spec.ffn, hidden, spec.mlp_bias),
        "mlp.down_proj": (hidden, spec.ffn, spec.mlp_bias),
    }
    for name, (num_out, num_in, bias) in linears.items():
        shapes[f"{name}.weight"] = (num_out, num_in)
        if bias:
            shapes[f"{name}.bias"] = (num_out,)
    if spec.qk_norm:
        shapes["self_attn.q_norm.weight"] = shapes["self_attn.k_norm.weight"] = (spec.head_dim,)
    return shapes


class Source(Protocol):
    """Where tensors come from: a checkpoint, or random numbers."""

    def read(self, name: str) -> Tensor: ...


class DummySource:
    """Random weights of the right shapes, the same for the same seed, device and names."""

    def __init__(self, spec: ModelSpec, seed: int, device: torch.device = CPU) -> None:
        self._shapes, self._device = tensor_shapes(spec), device
        self._random = torch.Generator(device).manual_seed(seed)

    def read(self, name: str) -> Tensor:
        shape = self._shapes[name]
        if len(shape) == 1 and name.endswith("norm.weight"):
            return torch.ones(shape, device=self._device)
        return torch.empty(shape, device=self._device).normal_(0.0, 0.02, generator=self._random)


def open_checkpoint(spec: ModelSpec, folder: Path) -> Checkpoint:
    """Open and check a checkpoint against the spec. Raises `EngineStartError` naming tensors."""
    checkpoint = Checkpoint(folder)
    ignored = {name for name in checkpoint.shapes if name.endswith("rotary_emb.inv_freq")}
    if spec.tied:
        ignored.add(_HEAD)  # some tied checkpoints hold a copy
    checkpoint.check(tensor_shapes(spec), ignored)
    return checkpoint


class WeightLoader:
    """Builds `ModelWeights` from a source, one layer at a time."""

    def __init__(
        self,
        spec: ModelSpec,
        source: Source,
        dtype: torch.dtype,
        on_bytes: OnBytes | None = None,
        *,
        device: torch.device = CPU,
        generates: bool = True,
    ) -> None:
        self._spec, self._source, self._dtype, self._device = spec, source, dtype, device
        self._on_bytes, self._done = on_bytes, 0
        self._generates = generates
        self._total = sum(map(math.prod, tensor_shapes(spec).values())) * dtype.itemsize

    def load(self) -> ModelWeights:
        embed = self._read(_EMBED)
        layers = [self._layer(f"model.layers.{i}.") for i in range(self._spec.num_layers)]
        norm = self._read(_NORM).float()
        head = embed if self._spec.tied else self._read(_HEAD)
        if not self._generates:  # nothing is projected to the vocabulary: one row stands in
            head = head[:1]
        return ModelWeights(embed=embed, layers=layers, norm=norm, lm_head=pack(head, None))

    def _layer(self, prefix: str) -> LayerWeights:
        spec, attn, mlp = self._spec, f"{prefix}self_attn.", f"{prefix}mlp."
        return LayerWeights(
            input_norm=self._read(f"{prefix}input_layernorm.weight").float(),
            qkv=self._linear([f"{attn}{x}_proj" for x in "qkv"], spec.qkv_bias),
            o=self._linear([f"{attn}o_proj"], spec.o_bias),
            post_norm=self._read(f"{prefix}post_attention_layernorm.weight").float(),
            gate_up=self._linear([f"{mlp}gate_proj", f"{mlp}up_proj"], spec.mlp_bias),
            down=self._linear([f"{mlp}down_proj"], spec.mlp_bias),
            q_norm=self._read(f"{attn}q_norm.weight").float() if spec.qk_norm else None,
            k_norm=self._read(f"{attn}k_norm.weight").float() if spec.qk_norm else None,
        )

    def _linear(self, names: list[str], bias: bool) -> PackedWeight:
        """Linears that read the same input become one matrix."""
        weight = torch.cat([self._read(f"{name}.weight") for name in names])
        bias_N = torch.cat([self._read(f"{name}.bias") for name in names]) if bias else None
        return pack(weight, bias_N)

    def _read(self, name: str) -> Tensor:
        tensor = self._source.read(name).to(self._device, self._dtype)
        self._done += tensor.numel() * tensor.element_size()
        if self._on_bytes is not None:
            self._on_bytes(self._done, self._total)
        return tensor


def weight_bytes(spec: ModelSpec, dtype: torch.dtype, device: torch.device = CPU) -> int:
    """Memory the loaded weights will take, the table of embeddings included."""
    count = sum(map(math.prod, tensor_shapes(spec).values()))
    if device.type == "cuda":
        return count * dtype.itemsize
    head = spec.vocab_size * spec.hidden  # tied: held as a table and packed
    packed_width = dtype.itemsize if dtype == torch.bfloat16 and cpu.library() else 4
    return (count - head) * packed_width + head * (dtype.itemsize + packed_width * spec.tied)
