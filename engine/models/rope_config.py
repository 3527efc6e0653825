"""Rotary settings of a config.json: `rope_parameters`, or older `rope_theta` + `rope_scaling`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import EngineStartError
from engine.models.spec import RopeSpec

KINDS = ("default", "linear", "dynamic", "llama3", "yarn")


def read_rope(config: Mapping[str, Any], head_dim: int, trained_len: int) -> tuple[RopeSpec, int]:
    """The rope of a config and the longest context it reaches. Raises `EngineStartError`."""
    values = _values(config)
    kind = str(values.get("rope_type") or values.get("type") or "default")
    if kind not in KINDS:
        raise EngineStartError(
            f"Rotary embedding of type {kind!r} is not supported.",
            f"Supported: {', '.join(KINDS)}.",
        )
    part = float(values.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0)
    if part != 1.0:
        raise EngineStartError(
            f"partial_rotary_factor {part} is not supported.", "The whole head must be rotated."
        )
    theta = float(values.get("rope_theta") or config.get("rope_theta") or 10000.0)
    plain = RopeSpec(kind=kind, theta=theta, dim=head_dim, trained_len=trained_len)
    if kind == "default":
        return plain, trained_len
    factor = _number(values, "factor", kind)
    if kind in ("linear", "dynamic"):
        return replace(plain, factor=factor), math.floor(trained_len * factor)
    original = int(values.get("original_max_position_embeddings") or trained_len)
    if kind == "llama3":
        rope = replace(
            plain,
            factor=factor,
            original_len=original,
            low_freq_factor=_number(values, "low_freq_factor", kind),
            high_freq_factor=_number(values, "high_freq_factor", kind),
        )
        return rope, trained_len
    rope = replace(
        plain,
        factor=factor,
        original_len=original,
        beta_fast=float(values.get("beta_fast") or 32),
        beta_slow=float(values.get("beta_slow") or 1),
        attention_factor=_yarn_attention(values, factor),
        truncate=bool(values.get("truncate", True)),
    )
    return rope, max(trained_len, math.floor(original * factor))


def _values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    values = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(values, dict) or any(isinstance(v, dict) for v in values.values()):
        raise EngineStartError(
            "rope_parameters differ by kind of layer, which is not supported.",
            "Use a model with one rotary embedding for all layers.",
        )
    return values


def _number(values: Mapping[str, Any], key: str, kind: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise EngineStartError(
            f"Rotary embedding {kind} has {key}={value!r}.", f"{key} must be a positive number."
        )
    return float(value)


def _yarn_attention(values: Mapping[str, Any], factor: float) -> float:
    """Temperature of arXiv 2309.00071 (0.1 ln s + 1), or what the config says instead."""
    if values.get("attention_factor") is not None:
        return float(values["attention_factor"])
    mscale, mscale_all = values.get("mscale"), values.get("mscale_all_dim")
    if mscale and mscale_all:
        return _mscale(factor, float(mscale)) / _mscale(factor, float(mscale_all))
    return _mscale(factor, 1.0)


def _mscale(scale: float, weight: float) -> float:
    return 1.0 if scale <= 1 else 0.1 * weight * math.log(scale) + 1.0
