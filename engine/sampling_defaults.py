"""Sampling values a checkpoint recommends in its `generation_config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.sampling_params import SamplingParams

NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_new_tokens": "max_tokens",
}


def sampling_defaults(model: str, generation_config: str) -> SamplingParams:
    """Defaults of a local checkpoint; plain `SamplingParams()` when it recommends nothing."""
    file = Path(model) / "generation_config.json"
    if generation_config == "none" or not file.is_file():
        return SamplingParams()
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    known = {
        ours: found[theirs]
        for theirs, ours in NAMES.items()
        if isinstance(found.get(theirs), int | float)
    }
    return SamplingParams(**known)
