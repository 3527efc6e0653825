"""Random adapters for measuring: all seven linears, non-zero B, of one rank."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from engine.lora.check import CONFIG, WEIGHTS, weight_name
from engine.lora.layout import linear_shapes, module_shapes
from engine.models.registry import read_spec


def make_adapters(
    model: Path, folder: Path, count: int, rank: int, dtype: torch.dtype = torch.float32
) -> list[Path]:
    """Folders of `count` adapters that fit the model, drawn from fixed seeds."""
    spec = read_spec(model)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "bias": "none",
        "target_modules": sorted(name.rpartition(".")[2] for name in linear_shapes(spec)),
    }
    made = []
    for seed in range(count):
        draw, tensors = torch.Generator().manual_seed(seed), {}
        for module, (num_out, num_in) in module_shapes(spec).items():
            a = torch.randn(rank, num_in, generator=draw) * num_in**-0.5
            b = torch.randn(num_out, rank, generator=draw) * (0.02 * rank**-0.5)
            tensors[weight_name(module, "A")] = a.to(dtype)
            tensors[weight_name(module, "B")] = b.to(dtype)
        path = folder / f"rank{rank}-{seed}"
        path.mkdir(parents=True, exist_ok=True)
        (path / CONFIG).write_text(json.dumps(config))
        save_file(tensors, path / WEIGHTS)
        made.append(path)
    return made
