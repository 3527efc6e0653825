"""Sampling values a checkpoint recommends in its `generation_config.json`, and those of the
deployment (`override_generation_config`) that win over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.config import EngineConfig
from engine.errors import EngineStartError, InvalidRequest
from engine.sampling_params import SamplingParams

NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_new_tokens": "max_tokens",
}


def sampling_defaults(config: EngineConfig) -> SamplingParams:
    """Defaults of a local checkpoint with the overrides on top; plain without either.

    Raises `EngineStartError` for what cannot be read or recommends what no request may ask.
    """
    values: dict[str, Any] = {}
    file = Path(config.model) / "generation_config.json"
    if config.generation_config != "none" and file.is_file():
        values = _checked(file.read_text("utf-8"), str(file), "start with generation_config='none'")
    return SamplingParams(**values | override_values(config.override_generation_config))


def override_values(text: str | None) -> dict[str, Any]:
    """What `override_generation_config` sets. Raises `EngineStartError` when it is not usable."""
    if text is None:
        return {}
    values = _checked(text, "override_generation_config", "leave it out")
    if unknown := json.loads(text).keys() - (NAMES.keys() - {"max_new_tokens"}):
        raise EngineStartError(
            f"override_generation_config cannot set {', '.join(sorted(unknown))}.",
            f"It knows {', '.join(sorted(NAMES.keys() - {'max_new_tokens'}))}.",
        )
    return values


def _checked(text: str, source: str, way_out: str) -> dict[str, Any]:
    """Our names and their values. Names we do not know stay out."""
    try:
        found: dict[str, Any] = json.loads(text)
        known = {
            ours: found[theirs] for theirs, ours in NAMES.items() if found.get(theirs) is not None
        }
        SamplingParams(**known).check()
    except (ValueError, AttributeError, InvalidRequest) as error:
        raise EngineStartError(
            f"{source} cannot be used: {error}", f"Mend it, or {way_out}."
        ) from None
    return known
