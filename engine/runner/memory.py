"""The memory plan: what weights and KV take and how many blocks fit, decided before loading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.config import EngineConfig
from engine.errors import EngineStartError
from engine.machine import machine_settings
from engine.models.spec import ModelSpec

CPU_KV_CEILING = 1 << 30  # default KV size on a CPU: at most this,
CPU_KV_SHARE = 4  # and at most one part in four of the free memory
SLACK_BYTES = 64 << 20  # what the allocator and the host's own tables take
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKind:
    """What is right where nothing was asked for."""

    block_size: int
    batched_tokens: int
    slack_bytes: int
    fills: bool  # the KV cache takes all that is left


CPU = DeviceKind(block_size=32, batched_tokens=512, slack_bytes=SLACK_BYTES, fills=False)
# captured graphs and the allocator's rounding, measured on 8B
GPU = DeviceKind(block_size=64, batched_tokens=8192, slack_bytes=1 << 30, fills=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Bytes and blocks this engine will hold."""

    weight_bytes: int
    block_bytes: int
    num_blocks: int
    block_size: int
    max_model_len: int
    max_num_batched_tokens: int

    @property
    def kv_bytes(self) -> int:
        return self.block_bytes * self.num_blocks


def plan_memory(
    config: EngineConfig,
    spec: ModelSpec,
    *,
    weight_bytes: int,
    kv_itemsize: int,
    free_bytes: int,
    kind: DeviceKind = CPU,
) -> MemoryPlan:
    """Size the KV cache. Raises `EngineStartError` with the numbers when something cannot fit."""
    block_size = config.block_size or kind.block_size
    if kind.fills and block_size not in (16, 32, 64):
        raise EngineStartError(
            f"block_size {block_size} does not work on a GPU.", "Use 16, 32 or 64."
        )
    tokens = config.max_num_batched_tokens or kind.batched_tokens
    max_len = config.max_model_len or spec.max_len
    if max_len > spec.max_len and not machine_settings().allow_long_max_model_len:
        raise EngineStartError(
            f"max_model_len {max_len} is over the model's {spec.max_len} positions.",
            f"Use at most {spec.max_len}, or set PAGODA_ALLOW_LONG_MAX_MODEL_LEN=true.",
        )
    block_bytes = spec.kv_bytes_per_token(kv_itemsize) * block_size
    workspace = kind.slack_bytes + workspace_bytes(config.max_num_seqs, tokens, spec, max_len)
    room = free_bytes - weight_bytes - workspace
    if room < block_bytes * 2:
        raise EngineStartError(
            f"The weights need {_mib(weight_bytes)} and the workspace {_mib(workspace)}, "
            f"but {_mib(free_bytes)} of memory are free.",
            "Use a smaller model, a lower max_num_seqs, or a machine with more memory.",
        )
    most = room if kind.fills else min(CPU_KV_CEILING, free_bytes // CPU_KV_SHARE, room)
    blocks = _num_blocks(config, block_size, block_bytes, max_len, most // block_bytes)
    if blocks * block_bytes > room:
        raise EngineStartError(
            f"A KV cache of {_mib(blocks * block_bytes)} beside weights of {_mib(weight_bytes)} "
            f"does not fit {_mib(free_bytes)} of free memory.",
            f"Lower kv_cache_memory_bytes or num_gpu_blocks_override to {_mib(room)} or less.",
        )
    max_len = _fit_length(config, blocks * block_size, max_len, blocks * block_bytes)
    return MemoryPlan(
        weight_bytes=weight_bytes,
        block_bytes=block_bytes,
        num_blocks=blocks,
        block_size=block_size,
        max_model_len=max_len,
        max_num_batched_tokens=tokens,
    )


def workspace_bytes(max_num_seqs: int, tokens: int, spec: ModelSpec, max_len: int) -> int:
    """What a step needs beside weights and KV, in float32: the activations of one layer for a full
    token budget, four copies of the logits (model's, scaled, filtered, softmax), the rope table."""
    layer = 4 * spec.hidden + 2 * spec.q_size + 2 * spec.kv_size + 3 * spec.ffn
    logits = 4 * min(max_num_seqs, tokens) * spec.vocab_size
    return 4 * (tokens * layer + logits + max_len * spec.head_dim)


def _num_blocks(
    config: EngineConfig, block_size: int, block_bytes: int, max_len: int, most: int
) -> int:
    """As asked for; else enough for every sequence at full length, at most `most`."""
    if config.num_gpu_blocks_override is not None:
        return config.num_gpu_blocks_override
    if config.kv_cache_memory_bytes is not None:
        blocks = config.kv_cache_memory_bytes // block_bytes
        if blocks < 2:
            raise EngineStartError(
                f"kv_cache_memory_bytes={config.kv_cache_memory_bytes} holds {blocks} blocks of "
                f"{block_bytes} bytes ({block_size} tokens).",
                f"Give at least {2 * block_bytes} bytes.",
            )
        return blocks
    enough = config.max_num_seqs * -(-max_len // block_size)
    return max(2, min(enough, most))


def _fit_length(config: EngineConfig, kv_tokens: int, max_len: int, kv_bytes: int) -> int:
    """A context that was asked for must fit the KV cache; a default one is cut to it."""
    if kv_tokens >= max_len:
        return max_len
    if config.max_model_len is not None:
        raise EngineStartError(
            f"max_model_len {max_len} needs more KV cache than the {_mib(kv_bytes)} "
            f"({kv_tokens} tokens) there are.",
            f"Use a max_model_len of at most {kv_tokens}, or a larger kv_cache_memory_bytes.",
        )
    return kv_tokens


def free_memory() -> int:
    """Bytes a new process may take: the kernel's estimate, or the container's limit if lower."""
    free = _meminfo("MemAvailable")
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used))
    return free


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise EngineStartError("/proc/meminfo does not say how much memory is free.", "Run on Linux.")


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _mib(count: int) -> str:
    return f"{max(0, count) / MIB:.0f} MiB"
