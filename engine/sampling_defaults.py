"""Sampling values a checkpoint recommends in its `generation_config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def sampling_defaults(model: str, generation_config: str) -> SamplingParams:
    """Defaults of a local checkpoint; plain `SamplingParams()` when it recommends nothing.

    Raises `EngineStartError` for a file that cannot be read or recommends what no request may ask.
    """
    file = Path(model) / "generation_config.json"
    if generation_config == "none" or not file.is_file():
        return SamplingParams()
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        known = {
            ours: found[theirs] for theirs, ours in NAMES.items() if found.get(theirs) is not None
        }
        params = SamplingParams(**known)
        params.check()
    except (OSError, ValueError, AttributeError, InvalidRequest) as error:
        raise EngineStartError(
            f"{file} cannot be used: {error}", "Mend it, or start with generation_config='none'."
        ) from None
    return params
