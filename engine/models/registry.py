"""config.json → `ModelSpec`: the families we compute, each as a small reader of its own fields.

Anything we cannot compute exactly is refused by name; nothing is guessed or dropped silently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import EngineStartError
from engine.models.rope_config import number, read_rope
from engine.models.spec import ModelSpec

Config = Mapping[str, Any]
_DTYPES = ("float32", "bfloat16", "float16")


def read_spec(folder: Path, overrides: str | None = None) -> ModelSpec:
    """The spec of a folder. Raises `EngineStartError` with cause and fix."""
    return parse_spec(read_config(folder, overrides))


def read_config(folder: Path, overrides: str | None = None) -> dict[str, Any]:
    """`folder/config.json` with a JSON object of `overrides` on top. Raises `EngineStartError`."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EngineStartError(
            f"{folder} holds no config.json.", "Name the folder of a Hugging Face checkpoint."
        ) from None
    except (OSError, ValueError) as error:
        raise EngineStartError(
            f"{path} cannot be read: {error}.", "Download the checkpoint again."
        ) from None
    if not isinstance(config, dict):
        raise EngineStartError(f"{path} is not a JSON object.", "Download the checkpoint again.")
    return config | _overrides(overrides)


def _overrides(text: str | None) -> dict[str, Any]:
    """Raises `EngineStartError` unless `text` is a JSON object."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise EngineStartError(
            f"hf_overrides={text!r} is no JSON object.", 'Write it as {"rope_theta": 10000.0}.'
        )
    return found


def read_eos_ids(folder: Path) -> frozenset[int]:
    """EOS ids of generation_config.json, which may name more than config.json does."""
    try:
        config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
        return id_set(config.get("eos_token_id"), "eos_token_id of generation_config.json")
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, AttributeError) as error:
        raise EngineStartError(
            f"{folder}/generation_config.json cannot be read: {error}.",
            "Download the checkpoint again.",
        ) from None


def parse_spec(config: Config) -> ModelSpec:
    """The spec of one parsed config.json. Raises `EngineStartError` for what we cannot compute."""
    names = config.get("architectures") or []
    name = names[0] if isinstance(names, list) and names else None
    family = _FAMILIES.get(str(name))
    if family is None:
        raise EngineStartError(
            f"The architecture {name or '(none named)'} "
            f"(model_type {config.get('model_type', 'unknown')}) is not supported.",
            f"Supported: {', '.join(sorted(_FAMILIES))}.",
        )
    if quantization := config.get("quantization_config"):
        method = "unknown"
        if isinstance(quantization, dict):
            method = quantization.get("quant_method", method)
        raise EngineStartError(
            f"The checkpoint is quantized ({method}), which is not supported.",
            "Use a float32, bfloat16 or float16 checkpoint.",
        )
    return _common(config, str(name), family)


def _llama(config: Config) -> dict[str, Any]:
    bias = bool(config.get("attention_bias", False))
    return {"qkv_bias": bias, "o_bias": bias, "mlp_bias": bool(config.get("mlp_bias", False))}


def _mistral(config: Config) -> dict[str, Any]:
    window = _window(config)
    return {"windows": (window,) * whole(config, "num_hidden_layers") if window else ()}


def _qwen2(config: Config) -> dict[str, Any]:
    return {"qkv_bias": True, "windows": _qwen_windows(config)}


def _qwen3(config: Config) -> dict[str, Any]:
    bias = bool(config.get("attention_bias", False))
    return {
        "qkv_bias": bias,
        "o_bias": bias,
        "qk_norm": True,
        "windows": _qwen_windows(config),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What a config.json of the family adds to the common fields, and means where it is silent."""

    own: Callable[[Config], dict[str, Any]]
    kv_heads: int | None = None  # None: one for each attention head
    max_len: int
    eos_id: int | None = None
    head_dim: int | None = None  # None: hidden size ÷ heads


_FAMILIES = {
    "LlamaForCausalLM": _Family(own=_llama, max_len=2048, eos_id=2),
    "MistralForCausalLM": _Family(own=_mistral, kv_heads=8, max_len=131072, eos_id=2),
    "Qwen2ForCausalLM": _Family(own=_qwen2, kv_heads=32, max_len=32768),
    "Qwen3ForCausalLM": _Family(own=_qwen3, kv_heads=32, max_len=32768, head_dim=128),
}


def _window(config: Config) -> int:
    """Width of the sliding window, 0 for none: null says none, silence says 4096."""
    return whole_or(config, "sliding_window", absent=4096, null=0)


def _qwen_windows(config: Config) -> tuple[int, ...]:
    """Window per layer: `layer_types` where the config has it, else the family's rule."""
    window = _window(config) if config.get("use_sliding_window", False) else 0
    if not window:
        return ()
    num_layers = whole(config, "num_hidden_layers")
    kinds = config.get("layer_types")
    if kinds is None:
        first = whole_or(config, "max_window_layers", absent=28, null=0)
        return tuple(window if i >= first else 0 for i in range(num_layers))
    names = list(map(str, kinds)) if isinstance(kinds, list) else [str(kinds)]
    if len(names) != num_layers or set(names) - {"full_attention", "sliding_attention"}:
        raise EngineStartError(
            f"layer_types {sorted(set(names))} × {len(names)} is not supported.",
            f"It must name full_attention or sliding_attention for each of {num_layers} layers.",
        )
    return tuple(window if name == "sliding_attention" else 0 for name in names)


def _common(config: Config, name: str, family: _Family) -> ModelSpec:
    hidden, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    kv_heads = whole_or(config, "num_key_value_heads", absent=family.kv_heads or heads, null=heads)
    head_dim = _head_dim(config, family, hidden, heads)
    activation = str(config.get("hidden_act", "silu"))
    if activation not in ("silu", "swish"):
        raise EngineStartError(f"hidden_act {activation!r} is not supported.", "Supported: silu.")
    if heads % kv_heads:
        raise EngineStartError(
            f"{heads} attention heads cannot share {kv_heads} key/value heads.",
            "num_attention_heads must be a multiple of num_key_value_heads.",
        )
    trained_len = whole_or(
        config, "max_position_embeddings", absent=family.max_len, null=family.max_len
    )
    rope, max_len = read_rope(config, head_dim, trained_len)
    return ModelSpec(
        architecture=name,
        num_layers=whole(config, "num_hidden_layers"),
        hidden=hidden,
        ffn=whole(config, "intermediate_size"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=whole(config, "vocab_size"),
        max_len=max_len,
        norm_eps=number(config, "rms_norm_eps", 1e-6),
        rope=rope,
        tied=bool(config.get("tie_word_embeddings", False)),
        dtype=dtype_of(config),
        eos_ids=id_set(config.get("eos_token_id", family.eos_id), "eos_token_id"),
        **family.own(config),
    )


def _head_dim(config: Config, family: _Family, hidden: int, heads: int) -> int:
    if config.get("head_dim") is None and family.head_dim is None and hidden % heads:
        raise EngineStartError(
            f"hidden_size {hidden} is not a multiple of {heads} heads.",
            "Add head_dim to config.json.",
        )
    usual = family.head_dim or hidden // heads
    head_dim = whole_or(config, "head_dim", absent=usual, null=usual)
    if head_dim % 2:
        raise EngineStartError(
            f"A head of {head_dim} dimensions cannot be rotated.", "head_dim must be even."
        )
    return head_dim


def whole(config: Config, key: str) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise EngineStartError(
            f"config.json has {key}={value!r}.", f"{key} must be a positive whole number."
        )
    return value


def whole_or(config: Config, key: str, *, absent: int, null: int) -> int:
    """A field that may be left out or null; zero is taken as null."""
    if key not in config:
        return absent
    return null if config[key] in (None, 0) else whole(config, key)


def dtype_of(config: Config) -> str:
    text = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    text = text.removeprefix("torch.")
    if text not in _DTYPES:
        raise EngineStartError(
            f"The checkpoint's dtype {text} is not supported.", f"Supported: {', '.join(_DTYPES)}."
        )
    return text


def id_set(value: Any, name: str) -> frozenset[int]:
    """An EOS field: absent, one id, or a list of ids."""
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(i, bool) or not isinstance(i, int) for i in ids):
        raise EngineStartError(
            f"{name} is {value!r}.", "It must be a token id, a list of token ids, or left out."
        )
    return frozenset(ids)
