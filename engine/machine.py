"""Settings of the machine an engine runs on, read from the environment when it starts."""

from __future__ import annotations

from dataclasses import dataclass

from engine.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    cache_dir: str = setting(
        "~/.cache/pagoda", "where compiled CPU kernels are kept between starts"
    )
