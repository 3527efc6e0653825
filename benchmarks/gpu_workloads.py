"""Model shapes and request mixes of the GPU benchmarks, the same for every engine compared."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

Work = list[tuple[list[int], int]]  # prompt ids, tokens to generate

_COMMON: dict[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "torch_dtype": "bfloat16",
    "num_key_value_heads": 8,
    "head_dim": 128,
}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": _COMMON
    | {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 40960,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
    },
    "llama-8b": _COMMON
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
    },
    # not among the shapes that anything was tuned on: heads of 64, groups of 7 and 4, biases
    "qwen2.5-0.5b": _COMMON
    | {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
    },
    "llama-1b": _COMMON
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "head_dim": 64,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
    },
}


def write_config(shape: str, folder: Path) -> Path:
    """A folder with the shape's config.json, for engines that make up the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SHAPES[shape]))
    return folder


def workload(name: str, vocab: int = 100_000) -> Work:
    """By name; nano is 256 ragged requests, the others are count × prompt → output."""
    draw = random.Random(0)

    def ids(count: int) -> list[int]:
        return [draw.randint(10, vocab - 1) for _ in range(count)]

    if name == "nano":
        return [(ids(draw.randint(100, 1024)), draw.randint(100, 1024)) for _ in range(256)]
    count, length, limit = {
        "batch": (256, 1024, 256),
        "single": (1, 128, 256),
        "prefill": (64, 4096, 1),
        "lora": (128, 512, 128),
    }[name]
    return [(ids(length), limit) for _ in range(count)]
