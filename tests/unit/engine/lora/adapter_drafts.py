"""Adapter folders written byte by byte, so that each part can be made wrong on its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.lora.check import CONFIG, WEIGHTS, weight_name
from engine.lora.layout import linear_shapes, module_shapes
from engine.models.registry import parse_spec

BASE_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 128,
}
SPEC = parse_spec(BASE_CONFIG)
_NAMES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.uint16): "BF16"}


def usual_config(**changes: Any) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "down_proj"],
        "inference_mode": True,
    } | changes


@dataclass
class Draft:
    """What will be written. `header` and `file` are the last hands on the bytes."""

    config: dict[str, Any] = field(default_factory=usual_config)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    config_bytes: bytes | None = None
    header: Callable[[dict[str, Any]], object] | None = None  # changes the parsed header in place
    header_bytes: bytes | None = None
    file: Callable[[bytes], bytes] | None = None
    beside: dict[str, bytes] = field(default_factory=dict)  # other files of the folder
    missing: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        text = self.config_bytes
        files = {
            CONFIG: json.dumps(self.config).encode() if text is None else text,
            WEIGHTS: self._weights(),
        }
        for name, data in (files | self.beside).items():
            if name not in self.missing:
                (folder / name).write_bytes(data)
        return folder

    def _weights(self) -> bytes:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        body = b""
        for name, values in self.tensors.items():
            data = values.tobytes()
            header[name] = {
                "dtype": _NAMES[values.dtype],
                "shape": list(values.shape),
                "data_offsets": [len(body), len(body) + len(data)],
            }
            body += data
        if self.header is not None:
            self.header(header)
        text = json.dumps(header).encode() if self.header_bytes is None else self.header_bytes
        whole = len(text).to_bytes(8, "little") + text + body
        return whole if self.file is None else self.file(whole)


def draft(
    rank: int = 4,
    targets: tuple[str, ...] = ("q_proj", "down_proj"),
    dtype: type = np.float32,
    layers: tuple[int, ...] = (0, 1),
    ranks: dict[str, int] | None = None,
    seed: int = 5,
    **config: Any,
) -> Draft:
    """A good adapter. `ranks` gives modules (by the end of their names) a rank of their own."""
    made = Draft(usual_config(**({"r": rank, "target_modules": list(targets)} | config)))
    draw = np.random.default_rng(seed)
    for module, (num_out, num_in) in module_shapes(SPEC).items():
        if int(module.split(".")[2]) not in layers or not module.endswith(targets):
            continue
        own = next((r for end, r in (ranks or {}).items() if module.endswith(end)), rank)
        for side, shape in (("A", (own, num_in)), ("B", (num_out, own))):
            values = draw.normal(size=shape).astype(np.float32)
            if dtype is np.uint16:
                values = (values.view(np.uint32) >> 16).astype(np.uint32)
            made.tensors[weight_name(module, side)] = values.astype(dtype)
    return made


def tensor_name(module: str = "self_attn.q_proj", side: str = "A", layer: int = 0) -> str:
    return weight_name(f"model.layers.{layer}.{module}", side)


ALL = tuple(name.rpartition(".")[2] for name in linear_shapes(SPEC))
