"""Small random checkpoints, one per feature, made with transformers and a fixed seed.

Weights are drawn wide enough that greedy output varies: each case checks that it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB = 320
_SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "attn_implementation": "eager",
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}


@dataclass(frozen=True)
class Case:
    """One checkpoint: its model class, what differs from `_SMALL`, how many files it takes."""

    name: str
    config: type
    model: type[PreTrainedModel]
    changes: dict[str, Any]
    shard: str = "1GB"
    prefix_caching: bool = True


def _llama(name: str, **changes: Any) -> Case:
    return Case(name, LlamaConfig, LlamaForCausalLM, changes)


CASES = [
    _llama("llama-gqa"),
    _llama("llama-mqa-tied", num_key_value_heads=1, tie_word_embeddings=True),
    _llama("llama-mha-bias", num_key_value_heads=4, attention_bias=True, mlp_bias=True),
    _llama("llama-head-dim", head_dim=48, num_attention_heads=8, num_key_value_heads=4),
    _llama(
        "llama-linear",
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
    ),
    _llama("llama-llama3", rope_parameters=_LLAMA3),
    _llama("llama-yarn", rope_parameters=_YARN),
    Case(
        "llama-dynamic",
        LlamaConfig,
        LlamaForCausalLM,
        {
            "max_position_embeddings": 64,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
        },
        prefix_caching=False,  # see Rotary: such keys depend on the whole prompt's length
    ),
    Case("mistral-window", MistralConfig, MistralForCausalLM, {"sliding_window": 24}),
    Case(
        "mistral-full", MistralConfig, MistralForCausalLM, {"sliding_window": None}, shard="100KB"
    ),
    Case("qwen2-tied", Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    Case(
        "qwen2-mixed-window",
        Qwen2Config,
        Qwen2ForCausalLM,
        {
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 20,
            "max_window_layers": 1,
        },
    ),
    Case("qwen3", Qwen3Config, Qwen3ForCausalLM, {"head_dim": 32}),
    Case(
        "qwen3-layer-types",
        Qwen3Config,
        Qwen3ForCausalLM,
        {
            "head_dim": 16,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 17,
            "layer_types": ["sliding_attention", "full_attention"],
            "num_key_value_heads": 1,
        },
    ),
]


def make_model(case: Case, folder: Path) -> PreTrainedModel:
    """Draw the weights, save them under `folder`, return the reference in float32."""
    torch.manual_seed(sum(map(ord, case.name)))
    model = case.model(case.config(**(_SMALL | case.changes))).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("norm.weight"):  # ones would hide a norm that is skipped or swapped
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                tensor.normal_(0.0, 0.2)
    model.save_pretrained(folder, max_shard_size=case.shard)
    return model
