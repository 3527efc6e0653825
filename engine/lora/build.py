"""From an `EngineConfig` to the two halves of LoRA: the manager and the runner's slots."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.config import EngineConfig
from engine.lora.bank import SlotBank
from engine.lora.manager import AdapterLimits, AdapterManager
from engine.lora.weights import AdapterReader
from engine.models.spec import ModelSpec

HOST_SHARE = 4  # adapters may take one part in four of the free memory


@dataclass(frozen=True, slots=True)
class LoraParts:
    """What the core and the runner need. Nothing is allocated before an adapter is registered."""

    manager: AdapterManager
    bank: SlotBank


def build_lora(config: EngineConfig, spec: ModelSpec, free_bytes: int) -> LoraParts | None:
    """None where `enable_lora` is off."""
    if config.enable_lora is False:
        return None
    limits = AdapterLimits(
        max_loras=config.max_loras,
        max_rank=config.max_lora_rank,
        max_host=config.max_cpu_loras,
        host_bytes=config.lora_memory_bytes or free_bytes // HOST_SHARE,
    )
    dtype = None if config.lora_dtype == "auto" else getattr(torch, config.lora_dtype)
    manager = AdapterManager(limits, AdapterReader(spec, config.max_lora_rank, dtype).read)
    return LoraParts(manager, SlotBank(spec, manager.hosts, limits.num_slots))
