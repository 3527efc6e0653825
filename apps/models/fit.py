"""Whether a model would fit a host, in numbers, before anything is loaded.

The arithmetic is the engine's own (`engine/runner/memory.py`); the size of the weights comes from
the headers of the safetensors files. Nothing here needs torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apps.models.models import Host
from apps.models.services import option_text
from apps.models.sources import SourceMissing, local_folder
from engine.config import EngineConfig
from engine.errors import EngineStartError
from engine.models.registry import read_spec
from engine.pooling.card import read_card
from engine.runner.memory import CPU, GPU, SLACK_BYTES, free_memory, plan_memory

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
LEAST_CAPABILITY = 8.0  # of a GPU the kernels run on
HEADER_BYTES_MOST = 100_000_000  # what the safetensors library itself allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The answer. `cause` and `fix` are empty when it fits; figures are 0 when not reached."""

    free_bytes: int
    place: str = ""  # whose memory `free_bytes` is: a GPU's name, or "host"
    weight_bytes: int = 0
    kv_bytes: int = 0
    kv_tokens: int = 0
    max_model_len: int = 0
    cause: str = ""
    fix: str = ""

    @property
    def fits(self) -> bool:
        return not self.cause

    @property
    def too_big(self) -> bool:
        """The files can be read, and the memory is not enough for what they and the options ask."""
        return bool(self.cause and self.weight_bytes)

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Memory of one host, or of the GPU its engines take."""

    free_bytes: int
    gpu: str = ""  # its name; empty: the host's own memory
    gpu_bytes: int = 0

    def for_engine(self, config: EngineConfig) -> int:
        """What an engine may take: on a GPU within its share of the whole."""
        if not self.gpu:
            return self.free_bytes
        share = int(self.gpu_bytes * config.gpu_memory_utilization)
        return max(0, share - (self.gpu_bytes - self.free_bytes))


def fit_check(
    *,
    source: str,
    revision: str,
    options: Mapping[str, Any],
    rooms: Sequence[Room],
    taken_bytes: int = 0,
) -> Fit:
    """Whether a model fits one of `rooms`, of which others are about to take `taken_bytes`.

    Reads config.json and the headers of the weights. Raises nothing: a refusal is an answer."""
    found = Fit(free_bytes=max((room.free_bytes for room in rooms), default=0))
    try:
        folder = Path(local_folder(source, revision))
        config = EngineConfig.from_texts({n: option_text(v) for n, v in options.items()})
        pools = read_card(folder, task=config.task, hf_overrides=config.hf_overrides) is not None
        room = _room(rooms, config, pools)
        free = max(0, room.for_engine(config) - taken_bytes)
        found = replace(found, free_bytes=free, place=room.gpu or "host")
        return _pooling(found, folder) if pools else _generating(found, folder, config, room)
    except (SourceMissing, EngineStartError) as error:
        return replace(found, cause=error.cause, fix=error.fix)


def _room(rooms: Sequence[Room], config: EngineConfig, pools: bool) -> Room:
    """Where the engine would go: `auto` takes a GPU where there is one. Raises
    `EngineStartError`."""
    gpus = [] if pools or config.device == "cpu" else [room for room in rooms if room.gpu]
    if config.device == "cuda" and not gpus:
        raise EngineStartError(
            "No host reports a GPU that engines could use.",
            "Set device to auto or cpu, or add a host with an NVIDIA GPU.",
        )
    hosts = [room for room in rooms if not room.gpu]
    return max(gpus or hosts, key=lambda room: room.for_engine(config))


def _generating(found: Fit, folder: Path, config: EngineConfig, room: Room) -> Fit:
    spec = read_spec(folder, config.hf_overrides)
    dtype = spec.dtype if config.dtype == "auto" else config.dtype
    item, count = ITEM_BYTES[dtype], _elements(folder)
    table = spec.vocab_size * spec.hidden
    weights = count * item if room.gpu else _on_cpu(count, dtype, table, tied=spec.tied)
    found = replace(found, weight_bytes=weights)
    try:
        plan = plan_memory(
            config,
            spec,
            weight_bytes=weights,
            kv_itemsize=item if room.gpu or dtype == "bfloat16" else 4,
            free_bytes=found.free_bytes,
            kind=GPU if room.gpu else CPU,
        )
    except EngineStartError as error:
        return replace(found, cause=error.cause, fix=error.fix)
    return replace(
        found,
        kv_bytes=plan.kv_bytes,
        kv_tokens=plan.num_blocks * plan.block_size,
        max_model_len=plan.max_model_len,
    )


def _on_cpu(count: int, dtype: str, table: int, *, tied: bool) -> int:
    """Matrices are packed for the kernels: a tied table of embeddings is held a second time."""
    packed = 2 if dtype == "bfloat16" else 4
    return (count - table) * packed + table * (ITEM_BYTES[dtype] + packed * tied)


def _pooling(found: Fit, folder: Path) -> Fit:
    """Vectors are computed in float32 at most and keep nothing from one request to the next."""
    weights = _elements(folder) * ITEM_BYTES["float32"]
    found = replace(found, weight_bytes=weights)
    if weights + SLACK_BYTES <= found.free_bytes:
        return found
    return replace(
        found,
        cause=f"The weights need {weights >> 20} MiB, but {found.free_bytes >> 20} MiB of memory "
        "are free.",
        fix="Use a smaller model, or a machine with more memory.",
    )


def rooms_read() -> list[Room]:
    """Of hosts whose agents report; this machine's memory before any has. One SQL query."""
    rooms = []
    for host in Host.objects.all():
        if host.online and host.free_bytes:
            rooms.append(Room(free_bytes=host.free_bytes))
            rooms += _gpu_of(host)
    return rooms or [Room(free_bytes=free_memory())]


def _gpu_of(host: Host) -> list[Room]:
    """The first GPU: an engine takes that one."""
    if not host.gpus or host.gpus[0]["capability"] < LEAST_CAPABILITY:
        return []
    gpu = host.gpus[0]
    return [Room(free_bytes=gpu["free_bytes"], gpu=gpu["name"], gpu_bytes=gpu["memory_bytes"])]


def _elements(folder: Path) -> int:
    """Numbers in all weights of a checkpoint. Raises `EngineStartError` for a broken file."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise EngineStartError(
            f"{folder} holds no safetensors weights.", "Convert the checkpoint to safetensors."
        )
    return sum(_elements_in(file) for file in files)


def _elements_in(file: Path) -> int:
    """Numbers in one file: eight bytes of length, then JSON, is the safetensors format."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > HEADER_BYTES_MOST:
                raise ValueError(f"a header of {length} bytes")
            header: dict[str, Any] = json.loads(opened.read(length))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        return sum(math.prod(map(int, entry["shape"])) for entry in entries)
    except (OSError, ValueError) as error:
        raise EngineStartError(f"{file} is corrupt: {error}.", "Download it again.") from None
    except (AttributeError, KeyError, TypeError, RecursionError):
        raise EngineStartError(
            f"{file} is corrupt: its header names no shapes.", "Download it again."
        ) from None
