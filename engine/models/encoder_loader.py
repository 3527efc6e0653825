"""Checkpoint → encoder: one set of names per kind, q/k/v merged, packed for this machine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.kernels.packed_gemm import PackedWeight, pack
from engine.layers.rotary import Rotary
from engine.models.checkpoint import Checkpoint
from engine.models.encoder import Bert, Encoder, EncoderLayer, EncoderWeights, ModernBert, Norm
from engine.models.encoder_spec import EncoderSpec
from engine.models.spec import RopeSpec

OnProgress = Callable[[str, int, int], None]  # phase, done bytes, total bytes
Shapes = dict[str, tuple[int, ...]]
_TRUNKS = ("bert.", "roberta.", "model.")
_PARTS = ("embeddings.", "encoder.", "layers.", "final_norm.", "pooler.")


def encoder_name(stored: str) -> str:
    """A tensor's name without the prefix of its trunk, in the newer spelling of norms."""
    for trunk in _TRUNKS:
        if stored.startswith(trunk) and stored[len(trunk) :].startswith(_PARTS):
            stored = stored[len(trunk) :]
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if stored.endswith(old):
            stored = stored.removesuffix(old) + new
    return stored


def encoder_shapes(spec: EncoderSpec) -> Shapes:
    """Every tensor of the trunk."""
    shapes = _modern_shapes(spec) if spec.modern else _bert_shapes(spec)
    for i in range(spec.num_layers):
        layer = _modern_layer(spec, i) if spec.modern else _bert_layer(spec)
        shapes |= {f"{_layer_prefix(spec, i)}{name}": shape for name, shape in layer.items()}
    return shapes


def load_encoder(
    spec: EncoderSpec, source: Checkpoint, dtype: torch.dtype, max_len: int, on_bytes: OnProgress
) -> Encoder:
    """Read the trunk; `source` has been checked against `encoder_shapes`."""
    weights = _Loader(spec, source, dtype, on_bytes).load()
    if not spec.modern:
        return Bert(spec, weights)
    rotary = {theta: _rotary(spec, theta, max_len) for theta in set(spec.thetas)}
    return ModernBert(spec, weights, rotary)


def _rotary(spec: EncoderSpec, theta: float, max_len: int) -> Rotary:
    rope = RopeSpec(kind="default", theta=theta, dim=spec.head_dim, trained_len=spec.max_len)
    return Rotary(rope, max_len, torch.device("cpu"))


def _layer_prefix(spec: EncoderSpec, i: int) -> str:
    return f"layers.{i}." if spec.modern else f"encoder.layer.{i}."


def _bert_shapes(spec: EncoderSpec) -> Shapes:
    hidden = spec.hidden
    return {
        "embeddings.word_embeddings.weight": (spec.vocab_size, hidden),
        "embeddings.position_embeddings.weight": (spec.position_rows, hidden),
        "embeddings.token_type_embeddings.weight": (spec.num_types, hidden),
        **_norm_shapes("embeddings.LayerNorm", hidden, True),
    }


def _modern_shapes(spec: EncoderSpec) -> Shapes:
    return {
        "embeddings.tok_embeddings.weight": (spec.vocab_size, spec.hidden),
        **_norm_shapes("embeddings.norm", spec.hidden, spec.norm_bias),
        **_norm_shapes("final_norm", spec.hidden, spec.norm_bias),
    }


def _bert_layer(spec: EncoderSpec) -> Shapes:
    hidden, ffn = spec.hidden, spec.ffn
    shapes: Shapes = {}
    for name in ("query", "key", "value"):
        shapes |= _linear_shapes(f"attention.self.{name}", hidden, hidden, True)
    return {
        **shapes,
        **_linear_shapes("attention.output.dense", hidden, hidden, True),
        **_norm_shapes("attention.output.LayerNorm", hidden, True),
        **_linear_shapes("intermediate.dense", ffn, hidden, True),
        **_linear_shapes("output.dense", hidden, ffn, True),
        **_norm_shapes("output.LayerNorm", hidden, True),
    }


def _modern_layer(spec: EncoderSpec, i: int) -> Shapes:
    hidden, ffn = spec.hidden, spec.ffn
    norm = _norm_shapes("attn_norm", hidden, spec.norm_bias) if i else {}
    return {
        **norm,
        **_linear_shapes("attn.Wqkv", 3 * hidden, hidden, spec.attention_bias),
        **_linear_shapes("attn.Wo", hidden, hidden, spec.attention_bias),
        **_norm_shapes("mlp_norm", hidden, spec.norm_bias),
        **_linear_shapes("mlp.Wi", 2 * ffn, hidden, spec.mlp_bias),
        **_linear_shapes("mlp.Wo", hidden, ffn, spec.mlp_bias),
    }


def _linear_shapes(name: str, num_out: int, num_in: int, bias: bool) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (num_out, num_in)}
    return shapes | ({f"{name}.bias": (num_out,)} if bias else {})


def _norm_shapes(name: str, width: int, bias: bool) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (width,)}
    return shapes | ({f"{name}.bias": (width,)} if bias else {})


class _Loader:
    def __init__(
        self, spec: EncoderSpec, source: Checkpoint, dtype: torch.dtype, on_bytes: OnProgress
    ) -> None:
        self._spec, self._source, self._dtype, self._on_bytes = spec, source, dtype, on_bytes
        self._done, self._total = 0, sum(source.bytes[name] for name in encoder_shapes(spec))

    def load(self) -> EncoderWeights:
        spec = self._spec
        layers = [self._layer(i) for i in range(spec.num_layers)]
        if spec.modern:
            return EncoderWeights(
                words=self._read("embeddings.tok_embeddings.weight"),
                positions=None,
                types=None,
                embed_norm=self._norm("embeddings.norm"),
                layers=layers,
                final_norm=self._norm("final_norm"),
            )
        return EncoderWeights(
            words=self._read("embeddings.word_embeddings.weight"),
            positions=self._read("embeddings.position_embeddings.weight").float(),
            types=self._read("embeddings.token_type_embeddings.weight").float(),
            embed_norm=self._norm("embeddings.LayerNorm"),
            layers=layers,
            final_norm=None,
        )

    def _layer(self, i: int) -> EncoderLayer:
        prefix = _layer_prefix(self._spec, i)
        if self._spec.modern:
            return EncoderLayer(
                qkv=self._linear(f"{prefix}attn.Wqkv"),
                o=self._linear(f"{prefix}attn.Wo"),
                up=self._linear(f"{prefix}mlp.Wi"),
                down=self._linear(f"{prefix}mlp.Wo"),
                attention_norm=self._norm(f"{prefix}attn_norm") if i else None,
                mlp_norm=self._norm(f"{prefix}mlp_norm"),
            )
        return EncoderLayer(
            qkv=self._linear(*(f"{prefix}attention.self.{x}" for x in ("query", "key", "value"))),
            o=self._linear(f"{prefix}attention.output.dense"),
            up=self._linear(f"{prefix}intermediate.dense"),
            down=self._linear(f"{prefix}output.dense"),
            attention_norm=self._norm(f"{prefix}attention.output.LayerNorm"),
            mlp_norm=self._norm(f"{prefix}output.LayerNorm"),
        )

    def _linear(self, *names: str) -> PackedWeight:
        """Linears that read the same input become one matrix."""
        weight = torch.cat([self._read(f"{name}.weight") for name in names])
        biases = [self._read(f"{n}.bias") for n in names if f"{n}.bias" in self._source.shapes]
        return pack(weight, torch.cat(biases) if biases else None, may_split=True)

    def _norm(self, name: str) -> Norm:
        has_bias = f"{name}.bias" in self._source.shapes
        bias = self._read(f"{name}.bias").float() if has_bias else None
        return Norm(weight=self._read(f"{name}.weight").float(), bias=bias)

    def _read(self, name: str) -> Tensor:
        tensor = self._source.read(name).to(self._dtype)
        self._done += self._source.bytes[name]
        self._on_bytes("weights", self._done, self._total)
        return tensor
