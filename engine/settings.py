"""Settings as small frozen dataclasses, read once from the environment at the edge of a process.

A field is declared with `setting(default, help, low=…, high=…, choices=…)`; `read(cls, environ)`
builds the instance from `PAGODA_<FIELD>` names. Any bad value or unknown `PAGODA_` name raises
`SettingError`, which names key, value and range.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

PREFIX = "PAGODA_"
T = TypeVar("T")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class SettingError(ValueError):
    """A setting has a value it cannot have, or a name nobody knows."""


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    example: str | None = None,
) -> Any:
    """A dataclass field with the facts that reading, checking and documenting it need."""
    facts = {"help": help, "low": low, "high": high, "choices": choices, "example": example}
    return dataclasses.field(default=default, metadata=facts)


def env_name(field_name: str) -> str:
    return PREFIX + field_name.upper()


def read(cls: type[T], environ: Mapping[str, str]) -> T:
    """Build `cls` from the environment. Raises `SettingError` on the first bad value."""
    hints = get_type_hints(cls)
    values = {
        field.name: parse(
            env_name(field.name), environ[env_name(field.name)], hints[field.name], field.metadata
        )
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if environ.get(env_name(field.name), "") != ""
    }
    return cls(**values)


def refuse_unknown(
    known: Iterable[type], environ: Mapping[str, str], extra: Iterable[str] = ()
) -> None:
    """Raise `SettingError` if the environment holds a `PAGODA_` name no class declares."""
    names = {env_name(f.name) for cls in known for f in dataclasses.fields(cls)} | set(extra)
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = (
                f" Did you mean {near[0]}?" if near else " See docs/configuration.md for all names."
            )
            raise SettingError(f"Unknown setting {name}.{hint}")


def parse(name: str, text: str, kind: Any, facts: Mapping[str, Any]) -> Any:
    """Turn text into `kind` (str, int, float, bool, Path, or one of these | None) and check it."""
    kinds = [k for k in get_args(kind) if k is not type(None)] or [kind]
    value = _convert(name, text.strip(), kinds[0])
    low, high, choices = facts.get("low"), facts.get("high"), facts.get("choices")
    if choices and value not in choices:
        raise SettingError(f"{name}={text!r} is not one of {', '.join(choices)}.")
    if (low is not None and value < low) or (high is not None and value > high):
        raise SettingError(f"{name}={text!r} is outside {low} … {high}.")
    return value


def _convert(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise SettingError(f"{name}={text!r} is not a boolean: use true or false.")
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            word = "a whole number" if kind is int else "a number"
            raise SettingError(f"{name}={text!r} is not {word}.") from None
        if not math.isfinite(number):
            raise SettingError(f"{name}={text!r} is not a finite number.")
        return number
    return Path(text).expanduser() if kind is Path else text
