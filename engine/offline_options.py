"""Keyword arguments of the offline classes → `EngineConfig`."""

from __future__ import annotations

import dataclasses
import difflib
import json
import warnings
from os import PathLike
from typing import Any

from engine.config import EngineConfig
from engine.errors import EngineStartError
from engine.foreign_options import FOREIGN, our_value

QUIET = frozenset({"trust_remote_code"})  # every second example has it
_warned: set[str] = set()


def config_from(model: str, options: dict[str, Any]) -> EngineConfig:
    """Raises TypeError for an unknown name and `EngineStartError` for a value we cannot honour."""
    fields = {field.name for field in dataclasses.fields(EngineConfig)}
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name in fields:
            values[name] = _as_field(name, value)
        elif name in FOREIGN:
            _take(name, value)
        else:
            raise TypeError(_unknown(name, fields))
    return EngineConfig(model=str(model), **values)


def _as_field(name: str, value: Any) -> Any:
    """Paths as text, and mappings as the JSON that the field of the same name holds."""
    if isinstance(value, PathLike):
        return str(value)
    return json.dumps(value) if isinstance(value, dict) else our_value(name, value)


def _take(name: str, value: Any) -> None:
    foreign = FOREIGN[name]
    if not foreign.allows(value):
        possible = " or ".join(repr(v) for v in foreign.values or ())
        raise EngineStartError(
            f"{name}={value!r} is not supported: {foreign.why}.", f"Leave it out or use {possible}."
        )
    if foreign.values is None and name not in QUIET and name not in _warned:
        _warned.add(name)
        warnings.warn(
            f"{name} is accepted but has no effect: {foreign.why}.", UserWarning, stacklevel=4
        )


def _unknown(name: str, fields: set[str]) -> str:
    near = difflib.get_close_matches(name, fields | FOREIGN.keys(), n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no argument {name!r}.{hint}"
