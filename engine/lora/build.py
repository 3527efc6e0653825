"""From an `EngineConfig` to the two halves of LoRA: the manager and the runner's slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from engine.config import EngineConfig
from engine.kernels.lora_delta import plain_lora
from engine.lora.bank import SlotBank
from engine.lora.device_bank import DeviceBank, PinnedReader
from engine.lora.manager import AdapterLimits, AdapterManager
from engine.lora.weights import AdapterReader
from engine.models.spec import ModelSpec
from engine.runner.memory import free_memory

HOST_SHARE = 4  # adapters may take one part in four of the free memory


@dataclass(frozen=True, slots=True)
class LoraParts:
    """What the core and the runner need. Nothing is allocated before an adapter is registered."""

    manager: AdapterManager
    bank: SlotBank | DeviceBank


def build_lora(
    config: EngineConfig, spec: ModelSpec, device: torch.device, dtype: torch.dtype
) -> LoraParts | None:
    """None where `enable_lora` is off. `dtype` is the model's."""
    if config.enable_lora is False:
        return None
    limits = AdapterLimits(
        max_loras=config.max_loras,
        max_rank=config.max_lora_rank,
        max_host=config.max_cpu_loras,
        host_bytes=config.lora_memory_bytes or free_memory() // HOST_SHARE,
    )
    rounded = None if config.lora_dtype == "auto" else getattr(torch, config.lora_dtype)
    if device.type == "cpu":
        manager = AdapterManager(limits, AdapterReader(spec, config.max_lora_rank, rounded).read)
        return LoraParts(manager, SlotBank(spec, manager.hosts, limits.num_slots))
    assert config.max_num_batched_tokens is not None
    hosts: dict[str, Any] = {}
    bank = DeviceBank(
        spec,
        hosts,
        buckets=limits.buckets,
        max_loras=config.max_loras,
        max_tokens=config.max_num_batched_tokens,
        max_seqs=config.max_num_seqs,
        dtype=dtype,
        device=device,
    )
    reader = AdapterReader(spec, config.max_lora_rank, rounded, plain_lora)
    return LoraParts(AdapterManager(limits, PinnedReader(reader, bank).read, hosts=hosts), bank)
