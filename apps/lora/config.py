"""Settings of adapters. Read once from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.settings import read, setting
from inference_site.paths import DEMO_ADAPTERS

GIB = 1024**3
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
FILES = (CONFIG_FILE, WEIGHTS_FILE)
MAX_CONFIG_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Adapters: where they may come from and how large they may be."""

    adapter_roots: str = setting(
        "",
        "folders, separated by colons, from which adapters may be loaded by path; "
        "default: adapters in home, and the bundled ones",
    )
    max_adapter_bytes: int = setting(2 * GIB, "bytes of one adapter's weights", low=1024)
    adapter_quota_bytes: int = setting(
        20 * GIB, "bytes of all adapters that one owner uploaded", low=1024
    )
    adapter_wait_s: float = setting(
        60.0, "load and add answer after this time, ready or not", low=1, high=600
    )
    adapter_check_memory_bytes: int = setting(
        8 * GIB, "address space of the process that checks an adapter", low=GIB
    )
    adapter_check_s: int = setting(120, "time to check an adapter", low=1, high=3600)

    def roots(self, home: Path) -> tuple[Path, ...]:
        """The folders below which a path may lie, resolved."""
        if not self.adapter_roots:
            return (home / "adapters").resolve(), DEMO_ADAPTERS.resolve()
        return tuple(Path(t).expanduser().resolve() for t in self.adapter_roots.split(":") if t)

    def cap_of(self, file: str) -> int:
        return MAX_CONFIG_BYTES if file == CONFIG_FILE else self.max_adapter_bytes


@cache
def lora_settings() -> LoraSettings:
    return read(LoraSettings, os.environ)
