"""Settings of the machine an engine runs on, read from the environment when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    cache_dir: Path = setting(
        Path("~/.cache/pagoda"), "where compiled CPU kernels are kept between starts"
    )
