"""The forward pass of encoders over a flat batch without padding and without a KV cache.

BERT and RoBERTa: add, then norm; learned positions. ModernBERT: norm, then add; rotary positions,
gated MLP, some layers see a window only. Weights are packed as the decoder's are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.add_norm import add_layer_norm
from engine.kernels.gated_activation import activate, gelu_mul
from engine.kernels.packed_attention import packed_attention
from engine.kernels.packed_gemm import PackedWeight, packed_gemm
from engine.kernels.post_norm_block import post_norm_block
from engine.layers.rotary import Rotary
from engine.models.encoder_spec import EncoderSpec


@dataclass(slots=True, kw_only=True)
class Norm:
    weight: Tensor  # [E]
    bias: Tensor | None  # [E]

    def with_eps(self, eps: float) -> tuple[Tensor, Tensor | None, float]:
        return self.weight, self.bias, eps


@dataclass(slots=True, kw_only=True)
class EncoderLayer:
    """Weights of one block. BERT's norms come after attention and MLP, ModernBERT's before."""

    qkv: PackedWeight  # [3E, E]
    o: PackedWeight  # [E, E]
    up: PackedWeight  # [F, E], ModernBERT: [2F, E], gated by its second half
    down: PackedWeight  # [E, F]
    attention_norm: Norm | None  # ModernBERT's first layer has none
    mlp_norm: Norm


@dataclass(slots=True, kw_only=True)
class EncoderWeights:
    words: Tensor  # [V, E]
    positions: Tensor | None  # [P, E]
    types: Tensor | None  # [K, E]
    embed_norm: Norm
    layers: list[EncoderLayer]
    final_norm: Norm | None


class Encoder(Protocol):
    spec: EncoderSpec

    def forward(self, ids_T: Tensor, types_T: Tensor, q_start: Tensor) -> Tensor:
        """Last hidden states, [T, E] float32. ids and types int64, q_start [S+1] int32."""


class Bert:
    """BERT, RoBERTa and XLM-RoBERTa."""

    def __init__(self, spec: EncoderSpec, weights: EncoderWeights) -> None:
        self.spec, self.weights = spec, weights
        self._qkv = torch.empty(0, 3 * spec.hidden)
        self._mixed = torch.empty(0, spec.hidden)

    def forward(self, ids_T: Tensor, types_T: Tensor, q_start: Tensor) -> Tensor:
        spec, eps = self.spec, self.spec.norm_eps
        hidden = _norm(None, self._embed(ids_T, types_T, q_start), self.weights.embed_norm, eps)
        qkv, mixed = self._space(len(ids_T))
        for layer in self.weights.layers:
            qkv = packed_gemm(hidden, layer.qkv, qkv)
            scale = spec.head_dim**-0.5
            mixed = packed_attention(qkv, q_start, spec.num_heads, 0, scale, mixed)
            assert layer.attention_norm is not None
            norms = layer.attention_norm.with_eps(eps), layer.mlp_norm.with_eps(eps)
            weights = (layer.o, layer.up, layer.down)
            post_norm_block(mixed, hidden, weights, norms, spec.activation)
        return hidden

    def _space(self, tokens: int) -> tuple[Tensor, Tensor]:
        """Kept from step to step: fresh pages cost more than what is written to them."""
        if tokens > len(self._qkv):
            self._qkv = torch.empty(tokens, 3 * self.spec.hidden)
            self._mixed = torch.empty(tokens, self.spec.hidden)
        return self._qkv[:tokens], self._mixed[:tokens]

    def _embed(self, ids_T: Tensor, types_T: Tensor, q_start: Tensor) -> Tensor:
        weights = self.weights
        assert weights.positions is not None
        assert weights.types is not None
        table = F.embedding(self._positions(ids_T, q_start), weights.positions)
        return F.embedding(ids_T, weights.words).float() + table + weights.types[types_T]

    def _positions(self, ids_T: Tensor, q_start: Tensor) -> Tensor:
        """From 0 in each sequence; RoBERTa's from pad + 1, and its padding tokens do not count."""
        if (pad := self.spec.pad_id) is None:
            return places(q_start)
        counts = (ids_T != pad).long()
        until = counts.cumsum(0)
        starts = q_start[:-1].long()
        before = (until - counts)[starts].repeat_interleave(q_start.diff().long())
        return (until - before) * counts + pad


class ModernBert:
    """ModernBERT."""

    def __init__(self, spec: EncoderSpec, weights: EncoderWeights, rotary: dict[float, Rotary]):
        self.spec, self.weights, self.rotary = spec, weights, rotary

    def forward(self, ids_T: Tensor, types_T: Tensor, q_start: Tensor) -> Tensor:
        spec, eps = self.spec, self.spec.norm_eps
        positions = places(q_start)
        turns = {theta: rotary.rows(positions) for theta, rotary in self.rotary.items()}
        words = F.embedding(ids_T, self.weights.words).float()
        residual = _norm(None, words, self.weights.embed_norm, eps)
        delta: Tensor | None = None
        for i, layer in enumerate(self.weights.layers):
            hidden = residual
            if layer.attention_norm is not None:
                hidden = _norm(delta, residual, layer.attention_norm, eps)
            qkv = packed_gemm(hidden, layer.qkv)
            _rotate(qkv, turns[spec.thetas[i]], spec.num_heads, spec.head_dim)
            scale = spec.head_dim**-0.5
            mixed = packed_attention(qkv, q_start, spec.num_heads, spec.windows[i], scale)
            hidden = _norm(packed_gemm(mixed, layer.o), residual, layer.mlp_norm, eps)
            wide = activate_gated(packed_gemm(hidden, layer.up), spec.activation)
            delta = packed_gemm(wide, layer.down)
        assert self.weights.final_norm is not None
        return _norm(delta, residual, self.weights.final_norm, eps)


def places(q_start: Tensor) -> Tensor:
    """[T] int64: each token's place in its own sequence."""
    lengths = q_start.diff().long()
    return torch.arange(int(q_start[-1])) - q_start[:-1].long().repeat_interleave(lengths)


def activate_gated(x: Tensor, kind: str) -> Tensor:
    """activation(first half) · second half."""
    if kind in ("gelu", "gelu_tanh"):
        return gelu_mul(x, tanh=kind == "gelu_tanh")
    first, second = x.chunk(2, dim=-1)
    return activate(first, kind) * second


def _norm(x: Tensor | None, residual: Tensor, norm: Norm, eps: float) -> Tensor:
    """Layer norm of residual + x; `residual` takes the sum."""
    return add_layer_norm(x, residual, norm.weight, norm.bias, eps)


def _rotate(qkv: Tensor, cos_sin: tuple[Tensor, Tensor], num_heads: int, dim: int) -> None:
    """Rotate q and k of every head in place, halves against each other."""
    heads = qkv.view(len(qkv), 3 * num_heads, dim)[:, : 2 * num_heads]
    cos, sin = cos_sin[0][:, None], cos_sin[1][:, None]
    low, high = heads[..., : dim // 2], heads[..., dim // 2 :]
    turned = low * cos - high * sin, high * cos + low * sin
    heads[..., : dim // 2], heads[..., dim // 2 :] = turned
