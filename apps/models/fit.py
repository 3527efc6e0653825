"""Whether a model would fit a host, in numbers, before anything is loaded.

The arithmetic is the engine's own (`engine/runner/memory.py`); the size of the weights comes from
the headers of the safetensors files. Nothing here needs torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.models.models import Host
from apps.models.services import option_text
from apps.models.sources import SourceMissing, local_folder
from engine.config import EngineConfig
from engine.errors import EngineStartError
from engine.models.registry import read_spec
from engine.runner.memory import free_memory, plan_memory

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
HEADER_BYTES_MOST = 100_000_000  # what the safetensors library itself allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The answer. `cause` and `fix` are empty when it fits; figures are 0 when not reached."""

    free_bytes: int
    weight_bytes: int = 0
    kv_bytes: int = 0
    kv_tokens: int = 0
    max_model_len: int = 0
    cause: str = ""
    fix: str = ""

    @property
    def fits(self) -> bool:
        return not self.cause


def fit_check(*, source: str, revision: str, options: Mapping[str, Any], free_bytes: int) -> Fit:
    """Reads config.json and the headers of the weights. Raises nothing: a refusal is an answer."""
    weights = 0
    try:
        folder = Path(local_folder(source, revision))
        spec = read_spec(folder)
        config = EngineConfig.from_texts({n: option_text(v) for n, v in options.items()})
        dtype = spec.dtype if config.dtype == "auto" else config.dtype
        weights = _elements(folder) * ITEM_BYTES[dtype]
        plan = plan_memory(
            config,
            spec,
            weight_bytes=weights,
            kv_itemsize=2 if dtype == "bfloat16" else 4,
            free_bytes=free_bytes,
        )
    except (SourceMissing, EngineStartError) as error:
        return Fit(free_bytes=free_bytes, weight_bytes=weights, cause=error.cause, fix=error.fix)
    return Fit(
        free_bytes=free_bytes,
        weight_bytes=weights,
        kv_bytes=plan.kv_bytes,
        kv_tokens=plan.num_blocks * plan.block_size,
        max_model_len=plan.max_model_len,
    )


def most_free_bytes() -> int:
    """Of the host with most free memory; of this machine before any agent has reported."""
    hosts = [host.free_bytes for host in Host.objects.all() if host.online]
    return max(hosts, default=0) or free_memory()


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
