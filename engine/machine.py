"""Settings of the machine an engine runs on, read from the environment when it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engine.settings import read, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    """Of the machine an engine runs on, and of the engine process itself."""

    cache_dir: str = setting(
        "~/.cache/pagoda", "where compiled CPU kernels are kept between starts"
    )
    allow_long_max_model_len: bool = setting(
        False, "max_model_len may be longer than the model was made for"
    )
    use_modelscope: bool = setting(False, "hub ids name models and adapters on ModelScope")
    profile_dir: str | None = setting(
        None, "folder that /start_profile writes to; without it there are no profiles"
    )
    log_level: str = setting(
        "INFO",
        "least level that engines log",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    )


def machine_settings() -> MachineSettings:
    """From the environment. Raises `SettingError` naming the key and what is right."""
    return read(MachineSettings, os.environ)
