"""Adapters made by peft itself on a small checkpoint, and what peft + transformers say with them.

Every B is drawn, not zero, and wide enough that each adapter changes greedy output at once.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from engine.lora.request import LoRARequest
from engine.messages import AdapterSource

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class AdapterCase:
    """One adapter: its name and what its config says beside `_USUAL`."""

    name: str
    rank: int
    alpha: float
    targets: list[str] | str = field(default_factory=lambda: ALL)
    changes: dict[str, Any] = field(default_factory=dict)


CASES = [
    AdapterCase("rank1", 1, 1),
    AdapterCase("rank4", 4, 6),
    AdapterCase("rank8", 8, 8),
    AdapterCase("rank16", 16, 16),
    AdapterCase("rank64", 64, 64),
    AdapterCase("rank256", 256, 256),
    AdapterCase("attention-only", 8, 16, ["q_proj", "v_proj"]),
    AdapterCase("mlp-only", 4, 8, ["up_proj", "down_proj"]),
    AdapterCase("one-layer", 8, 16, ALL, {"layers_to_transform": [1]}),
    AdapterCase("by-regex", 8, 8, r".*layers\.0\..*(k_proj|gate_proj|o_proj)"),
    AdapterCase("rslora", 16, 4, ALL, {"use_rslora": True}),
    AdapterCase(
        "patterns",
        4,
        4,
        ALL,
        {
            "rank_pattern": {"q_proj": 11, r"layers\.1\.mlp\.down_proj": 16, "^model.*up_proj": 2},
            "alpha_pattern": {"k_proj": 12, r".*\.0\.self_attn\.o_proj": 1.5},
        },
    ),
]


@contextmanager
def old_names() -> Iterator[None]:
    """peft reads attributes that transformers is about to rename."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def make_adapter(base: PreTrainedModel, case: AdapterCase, folder: Path) -> AdapterSource:
    """Draw the weights, let peft save them, and name the folder's content."""
    torch.manual_seed(sum(map(ord, case.name)))
    config = LoraConfig(
        r=case.rank,
        lora_alpha=case.alpha,
        target_modules=case.targets,
        task_type="CAUSAL_LM",
        **case.changes,
    )
    with old_names():
        model = get_peft_model(copy.deepcopy(base), config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_" in name:
                tensor.normal_(0.0, 1.5 / tensor.shape[1] ** 0.5)
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    return LoRARequest(case.name, 1, str(folder)).source()


class PeftReference:
    """One base model with all adapters loaded, any of which can be switched on."""

    def __init__(self, base: PreTrainedModel, folders: dict[str, Path]) -> None:
        first, *others = folders
        with old_names():
            self.model = PeftModel.from_pretrained(base, str(folders[first]), adapter_name=first)
            for name in others:
                self.model.load_adapter(str(folders[name]), adapter_name=name)
        self.model.eval()

    def use(self, adapter: str | None) -> PreTrainedModel:
        """The transformers model inside, with this adapter alone in effect."""
        tuner = self.model.base_model
        if adapter is None:
            tuner.disable_adapter_layers()
        else:
            tuner.enable_adapter_layers()
            tuner.set_adapter(adapter)
        found: PreTrainedModel = tuner.model
        return found
