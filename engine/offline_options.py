"""Keyword arguments of the offline classes → `EngineConfig`."""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from typing import Any

from engine.config import EngineConfig
from engine.errors import EngineStartError

NO_EFFECT = frozenset(  # other engines have these; nothing here corresponds to them
    {
        "swap_space",
        "max_seq_len_to_capture",
        "disable_custom_all_reduce",
        "disable_async_output_proc",
        "compilation_config",
    }
)
FIXED: dict[str, Any] = {  # accepted with the one value this build has
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "tokenizer_mode": "auto",
    "quantization": None,
    "kv_cache_dtype": "auto",
    "cpu_offload_gb": 0,
    "enable_lora": False,
    "speculative_config": None,
    "hf_overrides": None,
}
IGNORED = frozenset({"trust_remote_code"})  # configuration is data; remote code never runs
_warned: set[str] = set()


def config_from(model: str, options: dict[str, Any]) -> EngineConfig:
    """Raises TypeError for an unknown name and `EngineStartError` for a value we cannot honour."""
    fields = {field.name for field in dataclasses.fields(EngineConfig)}
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name in fields:
            values[name] = value
        elif name in FIXED:
            _only(name, value)
        elif name in NO_EFFECT:
            _warn_once(name)
        elif name not in IGNORED:
            raise TypeError(_unknown(name, fields))
    return EngineConfig(model=str(model), **values)


def _only(name: str, value: Any) -> None:
    if value != FIXED[name]:
        raise EngineStartError(
            f"{name}={value!r} is not supported.", f"Leave it out or use {FIXED[name]!r}."
        )


def _warn_once(name: str) -> None:
    if name not in _warned:
        _warned.add(name)
        warnings.warn(f"{name} is accepted but has no effect.", UserWarning, stacklevel=4)


def _unknown(name: str, fields: set[str]) -> str:
    near = difflib.get_close_matches(name, fields | FIXED.keys() | NO_EFFECT | IGNORED, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no argument {name!r}.{hint}"
