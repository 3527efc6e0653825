"""config.json → `ModelSpec`: the families we compute, each as a small reader of its own fields.

Anything we cannot compute exactly is refused by name; nothing is guessed or dropped silently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import EngineStartError
from engine.models.rope_config import read_rope
from engine.models.spec import ModelSpec

Config = Mapping[str, Any]
_DTYPES = ("float32", "bfloat16", "float16")


def read_spec(folder: Path) -> ModelSpec:
    """Parse `folder/config.json`. Raises `EngineStartError` with cause and fix."""
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
    return parse_spec(config)


def read_eos_ids(folder: Path) -> frozenset[int]:
    """EOS ids of generation_config.json, which may name more than config.json does."""
    try:
        config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
        return id_set(config.get("eos_token_id"))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EngineStartError(
            f"{folder}/generation_config.json cannot be read: {error}.",
            "Download the checkpoint again.",
        ) from None


def parse_spec(config: Config) -> ModelSpec:
    """The spec of one parsed config.json. Raises `EngineStartError` for what we cannot compute."""
    names = config.get("architectures") or []
    name = names[0] if isinstance(names, list) and names else None
    reader = _FAMILIES.get(str(name))
    if reader is None:
        raise EngineStartError(
            f"The architecture {name or '(none named)'} "
            f"(model_type {config.get('model_type', 'unknown')}) is not supported.",
            f"Supported: {', '.join(sorted(_FAMILIES))}.",
        )
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "unknown")
        raise EngineStartError(
            f"The checkpoint is quantized ({method}), which is not supported.",
            "Use a float32, bfloat16 or float16 checkpoint.",
        )
    return _common(config, str(name), **reader(config))


def _llama(config: Config) -> dict[str, Any]:
    bias = bool(config.get("attention_bias", False))
    return {"qkv_bias": bias, "o_bias": bias, "mlp_bias": bool(config.get("mlp_bias", False))}


def _mistral(config: Config) -> dict[str, Any]:
    window = config.get("sliding_window", 4096)  # the family's default; null means none
    return {"windows": (int(window),) * _whole(config, "num_hidden_layers") if window else ()}


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


_FAMILIES: dict[str, Callable[[Config], dict[str, Any]]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _mistral,
    "Qwen2ForCausalLM": _qwen2,
    "Qwen3ForCausalLM": _qwen3,
}


def _qwen_windows(config: Config) -> tuple[int, ...]:
    """Window per layer: `layer_types` where the config has it, else the family's rule."""
    if not config.get("use_sliding_window", False):
        return ()
    window = int(config.get("sliding_window", 4096) or 0)
    if not window:
        return ()
    num_layers = _whole(config, "num_hidden_layers")
    kinds = config.get("layer_types")
    if kinds is None:
        first = int(config.get("max_window_layers", 28))
        return tuple(window if i >= first else 0 for i in range(num_layers))
    if len(kinds) != num_layers or set(kinds) - {"full_attention", "sliding_attention"}:
        raise EngineStartError(
            f"layer_types {sorted(set(map(str, kinds)))} × {len(kinds)} is not supported.",
            f"It must name full_attention or sliding_attention for each of {num_layers} layers.",
        )
    return tuple(window if kind == "sliding_attention" else 0 for kind in kinds)


def _common(config: Config, name: str, **own: Any) -> ModelSpec:
    hidden, heads = _whole(config, "hidden_size"), _whole(config, "num_attention_heads")
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or _default_head_dim(name, hidden, heads))
    activation = str(config.get("hidden_act", "silu"))
    if activation not in ("silu", "swish"):
        raise EngineStartError(f"hidden_act {activation!r} is not supported.", "Supported: silu.")
    if heads % kv_heads:
        raise EngineStartError(
            f"{heads} attention heads cannot share {kv_heads} key/value heads.",
            "num_attention_heads must be a multiple of num_key_value_heads.",
        )
    trained_len = int(config.get("max_position_embeddings") or 2048)
    rope, max_len = read_rope(config, head_dim, trained_len)
    return ModelSpec(
        architecture=name,
        num_layers=_whole(config, "num_hidden_layers"),
        hidden=hidden,
        ffn=_whole(config, "intermediate_size"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=_whole(config, "vocab_size"),
        max_len=max_len,
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        rope=rope,
        tied=bool(config.get("tie_word_embeddings", False)),
        dtype=_dtype(config),
        eos_ids=id_set(config.get("eos_token_id")),
        **own,
    )


def _default_head_dim(name: str, hidden: int, heads: int) -> int:
    if name == "Qwen3ForCausalLM":
        return 128  # the family's own default, whatever hidden and heads are
    if hidden % heads:
        raise EngineStartError(
            f"hidden_size {hidden} is not a multiple of {heads} heads.",
            "Add head_dim to config.json.",
        )
    return hidden // heads


def _whole(config: Config, key: str) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise EngineStartError(
            f"config.json has {key}={value!r}.", f"{key} must be a positive whole number."
        )
    return value


def _dtype(config: Config) -> str:
    text = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    text = text.removeprefix("torch.")
    if text not in _DTYPES:
        raise EngineStartError(
            f"The checkpoint's dtype {text} is not supported.", f"Supported: {', '.join(_DTYPES)}."
        )
    return text


def id_set(value: Any) -> frozenset[int]:
    """An EOS field: absent, one id, or a list of ids."""
    if value is None:
        return frozenset()
    return frozenset(int(i) for i in (value if isinstance(value, list) else [value]))
