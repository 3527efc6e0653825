"""The one forward pass of all decoder-only families; a `ModelSpec` says what differs.

Per layer: add+norm, qkv, (qk-norm,) rope and KV write, attention, o, add+norm, gate_up, silu·mul,
down. Activations are float32 on a CPU, whatever the weights are, and of the weights' type on a GPU.
Rows that nobody samples skip the last layer's MLP (on a CPU its attention too) and the vocabulary
projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.kernels.add_norm import add_norm
from engine.kernels.attention_plan import AttentionPlan
from engine.kernels.embed_tokens import embed_tokens
from engine.kernels.gated_activation import silu_mul
from engine.kernels.packed_gemm import PackedWeight, packed_gemm
from engine.kernels.paged_attention import paged_attention
from engine.kernels.rope_cache import HeadLayout, rope_cache
from engine.layers.rotary import Rotary
from engine.models.spec import ModelSpec


@dataclass(slots=True, kw_only=True)
class LayerWeights:
    """Weights of one block, merged and packed."""

    input_norm: Tensor  # [E]
    qkv: PackedWeight  # [(H+2G)·D, E]
    o: PackedWeight  # [E, H·D]
    post_norm: Tensor  # [E]
    gate_up: PackedWeight  # [2F, E]
    down: PackedWeight  # [E, F]
    q_norm: Tensor | None = None  # [D]
    k_norm: Tensor | None = None  # [D]


@dataclass(slots=True, kw_only=True)
class ModelWeights:
    embed: Tensor  # [V, E]
    layers: list[LayerWeights]
    norm: Tensor  # [E]
    lm_head: PackedWeight  # [V, E]


@dataclass(slots=True)
class KVCache:
    """K and V of every layer, [N, G, B, D] each (K's memory is [N, G, D, B] on a CPU)."""

    keys: list[Tensor]
    values: list[Tensor]

    def set_held(self, held: bool) -> None:
        """Give the memory back or take it again, zeroed; the tensors stay the same objects."""
        for tensor in (*self.keys, *self.values):
            storage = tensor.untyped_storage()
            storage.resize_(tensor.numel() * tensor.itemsize if held else 0)
            if held:
                tensor.zero_()


class LoraStep(Protocol):
    """What the adapters of a step add to the base model's linears: y += B·A·x, in two halves so
    that the first may run beside the base model's product. `out`: x and y hold only the wanted
    tokens."""

    def shrink(self, layer: int, group: str, x_TK: Tensor, *, out: bool) -> Any: ...

    def expand(self, layer: int, group: str, narrow: Any, y_TN: Tensor, *, out: bool) -> None:
        """`narrow` is what `shrink` gave."""

    def add_norm(
        self,
        layer: int,
        group: str,
        narrow: Any,
        x_TE: Tensor,
        residual_TE: Tensor,
        weight_E: Tensor,
        eps: float,
        *,
        out: bool,
    ) -> Tensor:
        """`expand` of o or down, and the norm that follows. May change `x_TE`."""

    def gate(self, layer: int, narrow: Any, gate_up_TF: Tensor, *, out: bool) -> Tensor:
        """`expand` of gate_up and silu·mul, [T, F]. May change `gate_up_TF`."""


@dataclass(slots=True, kw_only=True)
class StepInput:
    """One flat batch. `out_rows` are the tokens whose hidden state is wanted, in order."""

    token_ids: Tensor  # [T] int64; -1 - row: that row's entry of `last_tokens`
    plan: AttentionPlan
    rope_lengths: Tensor | None  # [T] int64, only for dynamic rope
    out_rows: Tensor | None  # [S'] int64; None: every token
    out_plan: AttentionPlan | None = None  # CPU: the same sequences as seen by `out_rows` only
    last_tokens: Tensor | None = None  # GPU: [rows + 1] int64, sampled by steps before
    lora: LoraStep | None = None  # None: no row has an adapter


class Decoder:
    """A loaded model. `forward` fills the KV cache and returns the wanted hidden states."""

    def __init__(self, spec: ModelSpec, weights: ModelWeights, rotary: Rotary) -> None:
        self.spec, self.weights, self.rotary = spec, weights, rotary
        self.scale = spec.head_dim**-0.5
        self.heads_per_token = spec.num_heads + 2 * spec.num_kv_heads
        self.heads = [
            HeadLayout(
                num_heads=spec.num_heads,
                num_kv_heads=spec.num_kv_heads,
                head_dim=spec.head_dim,
                q_norm_D=layer.q_norm,
                k_norm_D=layer.k_norm,
                eps=spec.norm_eps,
            )
            for layer in weights.layers
        ]

    def forward(self, step: StepInput, cache: KVCache) -> Tensor:
        """Hidden states of `out_rows` after the final norm, [S', E]."""
        residual = embed_tokens(step.token_ids, step.last_tokens, self.weights.embed)
        cos_sin = self.rotary.rows(step.plan.positions, step.rope_lengths)
        hidden = add_norm(None, residual, self.weights.layers[0].input_norm, self.spec.norm_eps)
        norms = [layer.input_norm for layer in self.weights.layers[1:]] + [self.weights.norm]
        for i, layer in enumerate(self.weights.layers):
            last = i == self.spec.num_layers - 1
            attended = self._attend(i, hidden, cos_sin, step, cache, last)
            if last and step.out_rows is not None:
                if step.out_plan is None:
                    attended = attended.index_select(0, step.out_rows)
                residual = residual.index_select(0, step.out_rows)
            hidden = self._add_norm(
                i, "o", attended, layer.o, residual, layer.post_norm, step.lora, last
            )
            gated = self._gate(i, hidden, layer.gate_up, step.lora, last)
            hidden = self._add_norm(
                i, "down", gated, layer.down, residual, norms[i], step.lora, last
            )
        return hidden

    def logits(self, hidden_SE: Tensor) -> Tensor:
        """[S, V]."""
        return packed_gemm(hidden_SE, self.weights.lm_head)

    def _add_norm(
        self,
        i: int,
        group: str,
        x_TK: Tensor,
        weight: PackedWeight,
        residual_TE: Tensor,
        norm_E: Tensor,
        lora: LoraStep | None,
        last: bool,
    ) -> Tensor:
        """The linear `group`, added to the residual, and the norm after it."""
        eps = self.spec.norm_eps
        if lora is None:
            return add_norm(packed_gemm(x_TK, weight), residual_TE, norm_E, eps)
        narrow = lora.shrink(i, group, x_TK, out=last)
        y_TE = packed_gemm(x_TK, weight)
        return lora.add_norm(i, group, narrow, y_TE, residual_TE, norm_E, eps, out=last)

    def _gate(
        self, i: int, x_TE: Tensor, weight: PackedWeight, lora: LoraStep | None, last: bool
    ) -> Tensor:
        """silu(gate) · up, [T, F]."""
        if lora is None:
            return silu_mul(packed_gemm(x_TE, weight))
        narrow = lora.shrink(i, "gate_up", x_TE, out=last)
        return lora.gate(i, narrow, packed_gemm(x_TE, weight), out=last)

    def _qkv(self, i: int, x_TE: Tensor, lora: LoraStep | None) -> Tensor:
        """[T, (H+2G)·D]."""
        weight = self.weights.layers[i].qkv
        if lora is None:
            return packed_gemm(x_TE, weight)
        narrow = lora.shrink(i, "qkv", x_TE, out=False)
        qkv = packed_gemm(x_TE, weight)
        lora.expand(i, "qkv", narrow, qkv, out=False)
        return qkv

    def _attend(
        self,
        i: int,
        hidden: Tensor,
        cos_sin: tuple[Tensor, Tensor],
        step: StepInput,
        cache: KVCache,
        last: bool,
    ) -> Tensor:
        spec = self.spec
        qkv = self._qkv(i, hidden, step.lora)
        keys, values = cache.keys[i], cache.values[i]
        rope_cache(qkv, cos_sin, keys, values, step.plan, self.heads[i])
        plan = step.plan
        if last and step.out_rows is not None and step.out_plan is not None:
            qkv, plan = qkv[step.out_rows], step.out_plan
        q_THD = qkv.view(qkv.shape[0], self.heads_per_token, spec.head_dim)[:, : spec.num_heads]
        window = spec.windows[i] if spec.windows else 0
        return paged_attention(q_THD, keys, values, plan, self.scale, window)


def make_cache(
    spec: ModelSpec, num_blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
) -> KVCache:
    """KV memory for `num_blocks` blocks in every layer; contents are undefined until written."""
    shape = (num_blocks, spec.num_kv_heads, block_size, spec.head_dim)
    turned = (num_blocks, spec.num_kv_heads, spec.head_dim, block_size)
    keys, values = [], []
    for _ in range(spec.num_layers):
        if device.type == "cpu":
            keys.append(torch.zeros(turned, dtype=dtype, device=device).transpose(2, 3))
        else:
            keys.append(torch.zeros(shape, dtype=dtype, device=device))
        values.append(torch.zeros(shape, dtype=dtype, device=device))
    return KVCache(keys, values)
