"""config.json → `EncoderSpec`: BERT, RoBERTa, XLM-RoBERTa and ModernBERT.

Anything we cannot compute exactly is refused by name; nothing is guessed or dropped silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineStartError
from engine.models.registry import dtype_of, whole, whole_or
from engine.models.rope_config import number

Config = Mapping[str, Any]
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """Shapes and switches of an encoder."""

    modern: bool  # ModernBERT: norm first, rotary positions, gated MLP, windows
    num_layers: int
    hidden: int
    ffn: int
    num_heads: int
    vocab_size: int
    max_len: int
    norm_eps: float
    activation: str
    dtype: str
    num_types: int = 0  # rows of the token type table
    position_rows: int = 0  # rows of the position table
    pad_id: int | None = None  # RoBERTa: positions count from here + 1, padding has none
    windows: tuple[int, ...] = ()  # per layer: keys seen on each side; 0: all
    thetas: tuple[float, ...] = ()  # per layer: base of its rotary embedding
    norm_bias: bool = True
    attention_bias: bool = True
    mlp_bias: bool = True
    head_bias: bool = True  # of the dense layer before a classifier
    head_activation: str = "tanh"

    @property
    def head_dim(self) -> int:
        return self.hidden // self.num_heads


def parse_encoder(config: Config) -> EncoderSpec:
    """The spec of one parsed config.json. Raises `EngineStartError` for what we cannot compute."""
    kind = str(config.get("model_type"))
    heads, hidden = whole(config, "num_attention_heads"), whole(config, "hidden_size")
    if hidden % heads:
        raise EngineStartError(
            f"hidden_size {hidden} is not a multiple of {heads} heads.", "Mend config.json."
        )
    common: dict[str, Any] = {
        "num_layers": whole(config, "num_hidden_layers"),
        "hidden": hidden,
        "ffn": whole(config, "intermediate_size"),
        "num_heads": heads,
        "vocab_size": whole(config, "vocab_size"),
        "dtype": dtype_of(config),
    }
    if kind == "modernbert":
        return _modern(config, common)
    if kind in ("bert", "roberta", "xlm-roberta"):
        return _bert(config, common, counts_padding=kind != "bert")
    raise EngineStartError(
        f"The encoder {kind} is not supported.",
        "Supported: bert, roberta, xlm-roberta, modernbert.",
    )


def _bert(config: Config, common: dict[str, Any], *, counts_padding: bool) -> EncoderSpec:
    position = str(config.get("position_embedding_type") or "absolute")
    if position != "absolute" or config.get("is_decoder"):
        raise EngineStartError(
            f"An encoder with {position} positions or as decoder is not supported.",
            "Use one with absolute positions that is no decoder.",
        )
    rows = whole_or(config, "max_position_embeddings", absent=512, null=512)
    pad = whole_or(config, "pad_token_id", absent=1, null=0) if counts_padding else None
    return EncoderSpec(
        modern=False,
        max_len=rows if pad is None else rows - pad - 1,
        norm_eps=number(config, "layer_norm_eps", 1e-12),
        activation=_activation(config, "hidden_act"),
        num_types=whole_or(config, "type_vocab_size", absent=2, null=2),
        position_rows=rows,
        pad_id=pad,
        **common,
    )


def _modern(config: Config, common: dict[str, Any]) -> EncoderSpec:
    layers = common["num_layers"]
    kinds = config.get("layer_types")
    if kinds is None:
        every = whole_or(config, "global_attn_every_n_layers", absent=3, null=3)
        kinds = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    if not isinstance(kinds, list) or len(kinds) != layers or set(kinds) - _THETAS.keys():
        raise EngineStartError(
            f"layer_types {kinds!r} is not supported.",
            f"It must name full_attention or sliding_attention for each of {layers} layers.",
        )
    window = whole_or(config, "local_attention", absent=128, null=128) // 2
    thetas = {name: _theta(config, name) for name in _THETAS}
    return EncoderSpec(
        modern=True,
        max_len=whole_or(config, "max_position_embeddings", absent=8192, null=8192),
        norm_eps=number(config, "norm_eps", 1e-5),
        activation=_activation(config, "hidden_activation"),
        windows=tuple(window if kind == "sliding_attention" else 0 for kind in kinds),
        thetas=tuple(thetas[kind] for kind in kinds),
        norm_bias=bool(config.get("norm_bias", False)),
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
        head_bias=bool(config.get("classifier_bias", False)),
        head_activation=_activation(config, "classifier_activation"),
        **common,
    )


_THETAS = {
    "full_attention": ("global_rope_theta", 160_000.0),
    "sliding_attention": ("local_rope_theta", 10_000.0),
}


def _theta(config: Config, kind: str) -> float:
    """Newer configs hold it in `rope_parameters`, older ones in a field of its own."""
    name, default = _THETAS[kind]
    values = (config.get("rope_parameters") or {}).get(kind) or {}
    if values.get("rope_type", "default") != "default" or config.get("rope_scaling"):
        raise EngineStartError(
            "A stretched rotary embedding is not supported for ModernBERT.",
            "Use the checkpoint without rope scaling.",
        )
    return number(values, "rope_theta", number(config, name, default))


def _activation(config: Config, name: str) -> str:
    given = str(config.get(name) or "gelu")
    if given not in ACTIVATIONS:
        raise EngineStartError(
            f"{name} {given!r} is not supported.", f"Supported: {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[given]
