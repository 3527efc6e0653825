"""Writes trained weights in the layouts of `transformers` and `peft`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from demo.model import SIZES, Decoder, Linear


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write the tensors, readable for everybody (safetensors writes for the owner alone)."""
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


GENERATION = {"do_sample": False, "max_new_tokens": 512}


def write_model(decoder: Decoder, name: str, folder: Path, eos: list[int], pad: int) -> None:
    """config.json, generation_config.json and model.safetensors in bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"model.{key}": value.detach().to("cpu", torch.bfloat16).contiguous()
        for key, value in decoder.named_parameters()
    }
    _save(tensors, folder / "model.safetensors")
    ids = {"eos_token_id": eos, "pad_token_id": pad, "bos_token_id": None}
    config = {**SIZES[name].config(), **ids, "eos_token_id": eos[0]}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(
        json.dumps({**GENERATION, **ids}, indent=2) + "\n"
    )


def read_model(name: str, folder: Path, device: str) -> Decoder:
    """The decoder of a folder that `write_model` wrote."""
    decoder = Decoder(SIZES[name]).to(device)
    tensors = load_file(folder / "model.safetensors", device=device)
    decoder.load_state_dict(
        {key.removeprefix("model."): value.float() for key, value in tensors.items()}
    )
    return decoder


def write_adapter(
    decoder: Decoder, folder: Path, *, rank: int, alpha: int, modules: tuple[str, ...]
) -> None:
    """adapter_config.json and adapter_model.safetensors in bfloat16, as `peft` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, module in decoder.named_modules():
        if isinstance(module, Linear) and module.lora_a is not None and module.lora_b is not None:
            prefix = f"base_model.model.model.{name}"
            tensors[f"{prefix}.lora_A.weight"] = (
                module.lora_a.detach().to("cpu", torch.bfloat16).contiguous()
            )
            tensors[f"{prefix}.lora_B.weight"] = (
                module.lora_b.detach().to("cpu", torch.bfloat16).contiguous()
            )
    _save(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "pagoda-demo",
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted(modules),
        "modules_to_save": None,
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
