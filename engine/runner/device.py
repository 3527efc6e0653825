"""The device an engine computes on: which one, whether it can, and what of its memory is ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.config import EngineConfig
from engine.errors import EngineStartError
from engine.kernels.gpu import VERSION
from engine.logs import event_log
from engine.runner.memory import MIB, free_memory

LEAST_CAPABILITY = (8, 0)  # bf16 matrix instructions and asynchronous copies
log = event_log(__name__)
CPU_HELP = "Use --device cpu, or a machine with an NVIDIA GPU and its driver."


def pick_device(config: EngineConfig) -> torch.device:
    """The device asked for; `auto` takes a GPU where one can be used. Raises `EngineStartError`."""
    if config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else " (this torch was built without CUDA)"
        raise EngineStartError(f"No CUDA device can be used{built}.", CPU_HELP)
    device = torch.device("cuda", torch.cuda.current_device())
    if (cause := _unfit(device)) is None:
        return device
    if config.device == "auto":
        log.warning("gpu_not_used", cause=cause)
        return torch.device("cpu")
    raise EngineStartError(cause, CPU_HELP)


def _unfit(device: torch.device) -> str | None:
    """Why the kernels cannot run there."""
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < LEAST_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        return f"{name} has compute capability {major}.{minor}; the kernels need 8.0 or newer."
    return None if VERSION else "The GPU kernels need Triton 3.6 or newer, which is not installed."


def free_on(device: torch.device, config: EngineConfig) -> int:
    """Bytes the engine may take: what is free, on a GPU within its share of the whole."""
    if device.type == "cpu":
        return free_memory()
    free, total = torch.cuda.mem_get_info(device)
    return max(0, int(total * config.gpu_memory_utilization) - (total - free))


@contextmanager
def clear_about_memory(device: torch.device, config: EngineConfig) -> Iterator[None]:
    """Say with numbers what to change when the GPU's memory runs out while loading."""
    try:
        yield
    except torch.OutOfMemoryError:
        free, total = torch.cuda.mem_get_info(device)
        raise EngineStartError(
            f"The GPU ran out of memory while the engine loaded: {free // MIB} of "
            f"{total // MIB} MiB are free, with gpu_memory_utilization at "
            f"{config.gpu_memory_utilization:g}.",
            "Lower gpu_memory_utilization, max_num_batched_tokens or max_num_seqs, or end other "
            "programs on this GPU.",
        ) from None
