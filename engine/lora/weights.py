"""An adapter's weights in host memory, merged and packed as the engine's linears are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.errors import EngineStartError
from engine.kernels.lora_delta import LoraWeight, pack_lora
from engine.lora.adapter_config import AdapterConfig
from engine.lora.check import WEIGHTS, CheckedAdapter, check_folder, weight_name
from engine.lora.header import TensorEntry
from engine.lora.layout import GROUPS, linear_shapes
from engine.messages import AdapterSource
from engine.models.spec import ModelSpec

_KINDS = {
    "F32": (np.float32, torch.float32),
    "F16": (np.float16, torch.float16),
    "BF16": (np.int16, torch.bfloat16),
}


@dataclass(slots=True)
class HostAdapter:
    """One adapter, ready to enter a slot. `layers[i][group]` is None where it changes nothing."""

    rank: int
    layers: list[dict[str, LoraWeight | None]]

    @property
    def nbytes(self) -> int:
        weights = (weight for layer in self.layers for weight in layer.values())
        return sum(weight.nbytes for weight in weights if weight is not None)


@dataclass(frozen=True, slots=True)
class AdapterReader:
    """Reads adapters of one base model; called by the loader's thread."""

    spec: ModelSpec
    max_rank: int
    dtype: torch.dtype | None  # weights are rounded to it; None keeps the file's values
    pack: Callable[..., LoraWeight] = pack_lora  # for the device that computes

    def read(self, source: AdapterSource) -> HostAdapter:
        """Check everything again, then read. Raises `EngineStartError` naming all problems."""
        checked = check_folder(Path(source.path), self.spec, max_rank=self.max_rank)
        if checked.report.problems or checked.config is None:
            raise EngineStartError(" ".join(checked.report.problems), "Train or export it again.")
        if checked.report.digest != source.digest:
            raise EngineStartError(
                "Its files have changed since they were validated.", "Add it as a new version."
            )
        return self._merge(_File(Path(source.path) / WEIGHTS, checked), checked.config)

    def _merge(self, file: _File, config: AdapterConfig) -> HostAdapter:
        layers = [
            {group: self._group(file, config, i, parts) for group, parts in GROUPS.items()}
            for i in range(self.spec.num_layers)
        ]
        ranks = [weight.rank for layer in layers for weight in layer.values() if weight is not None]
        return HostAdapter(max(ranks), layers)

    def _group(
        self, file: _File, config: AdapterConfig, layer: int, parts: tuple[str, ...]
    ) -> LoraWeight | None:
        """A and B of linears that share an input, and the scale of each."""
        modules = [f"model.layers.{layer}.{part}" for part in parts]
        wanted = [config.wants(module) for module in modules]
        if not any(wanted):
            return None
        shapes = linear_shapes(self.spec)
        widths = tuple(shapes[part][0] for part in parts)
        rank = max(config.rank_of(m) for m, want in zip(modules, wanted, strict=True) if want)
        a_RK = torch.zeros(len(parts) * rank, shapes[parts[0]][1])
        b_NR = torch.zeros(sum(widths), rank)
        for s, module in enumerate(modules):
            if wanted[s]:
                own, start = config.rank_of(module), sum(widths[:s])
                a_RK[s * rank : s * rank + own] = self._read(file, weight_name(module, "A"))
                b_NR[start : start + widths[s], :own] = self._read(file, weight_name(module, "B"))
        scales = tuple(
            config.scale_of(module) if want else 0.0
            for module, want in zip(modules, wanted, strict=True)
        )
        return self.pack(a_RK, b_NR, widths, scales)

    def _read(self, file: _File, name: str) -> Tensor:
        """One matrix in float32."""
        matrix = file.read(name)
        return (matrix if self.dtype is None else matrix.to(self.dtype)).float()


class _File:
    """The weights file, mapped; only whole checked tensors are looked at."""

    def __init__(self, path: Path, checked: CheckedAdapter) -> None:
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        self._entries = checked.entries

    def read(self, name: str) -> Tensor:
        entry: TensorEntry = self._entries[name]
        kind, dtype = _KINDS[entry.dtype]
        raw = self._bytes[entry.start : entry.start + entry.size].copy().view(kind)
        numbers = torch.from_numpy(raw)
        return (numbers.view(dtype) if kind is np.int16 else numbers).view(entry.shape)
