"""What a ready engine tells us about its model, for the web processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.messages import EngineBeat
from engine.pooling.card import read_card
from engine.sampling_defaults import override_values

SAMPLING_NAMES = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def facts_of(
    path: str, beat: EngineBeat, *, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Fields of `ServedModel` that depend on checkpoint and engine."""
    folder, options = Path(path), options or {}
    config = _json(folder / "config.json")
    own = {} if options.get("generation_config") == "none" else default_params(folder)
    text_config = config.get("text_config", config)
    vocab_size = text_config.get("vocab_size", config.get("vocab_size", 0))
    return {
        "path": path,
        "max_model_len": beat.max_model_len,
        "vocab_size": int(vocab_size),
        "kv_tokens": beat.kv_tokens,
        "default_params": own | override_values(options.get("override_generation_config")),
        "pooling": pooling_of(folder, options),
    }


def pooling_of(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a pooling model, empty for one that generates. An engine has taken it before."""
    names = ("task", "override_pooler_config", "hf_overrides")
    card = read_card(folder, **{name: options[name] for name in names if options.get(name)})
    return {} if card is None else msgspec.to_builtins(card)


def default_params(folder: Path) -> dict[str, float | int]:
    """Sampling defaults of `generation_config.json`; greedy checkpoints leave temperature out."""
    config = _json(folder / "generation_config.json")
    return {
        name: config[name]
        for name in SAMPLING_NAMES
        if isinstance(config.get(name), int | float) and not isinstance(config[name], bool)
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
