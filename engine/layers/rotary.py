"""Cosines and sines of rotary embedding, in float32, computed as transformers computes them.

One row per token and step, shared by all layers: [T, dim/2] cosines, [T, dim/2] sines.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.models.spec import RopeSpec


class Rotary:
    """Rows of cos and sin for given positions; a table for all kinds but dynamic."""

    def __init__(self, rope: RopeSpec, max_len: int, device: torch.device) -> None:
        self.rope = rope
        self.dynamic = rope.kind == "dynamic" and max_len > rope.trained_len
        self.scale = rope.attention_factor
        inv_freq = inverse_frequencies(rope).to(device)
        angles = torch.arange(max_len, device=device).float()[:, None] * inv_freq[None, :]
        self.table_cos, self.table_sin = angles.cos() * self.scale, angles.sin() * self.scale

    def rows(self, positions_T: Tensor, lengths_T: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Cos and sin, [T, dim/2] each. `lengths_T` (dynamic only): the sequence length that
        sets the base for each token: the prompt's for its tokens, position + 1 after it."""
        if self.dynamic and lengths_T is not None:
            inv_freq_TD = dynamic_frequencies(self.rope, lengths_T)
            angles = positions_T.float()[:, None] * inv_freq_TD
            return angles.cos() * self.scale, angles.sin() * self.scale
        return self.table_cos[positions_T], self.table_sin[positions_T]


def inverse_frequencies(rope: RopeSpec) -> Tensor:
    """[dim/2] float32 angles per position, before any dependence on the running length."""
    plain = _plain(rope.theta, rope.dim)
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "llama3":
        return _llama3(plain, rope)
    if rope.kind == "yarn":
        return _yarn(rope)
    return plain


def dynamic_frequencies(rope: RopeSpec, lengths_T: Tensor) -> Tensor:
    """NTK-by-length: the base grows once a sequence passes the trained length. [T, dim/2]."""
    ratio = lengths_T.clamp(min=rope.trained_len).double() / rope.trained_len
    stretch = (rope.factor * ratio - (rope.factor - 1)) ** (rope.dim / (rope.dim - 2))
    base_T1 = (rope.theta * stretch).float()[:, None]
    return 1.0 / base_T1 ** _exponents(rope.dim, base_T1.device)


def _exponents(dim: int, device: torch.device | None = None) -> Tensor:
    return torch.arange(0, dim, 2, dtype=torch.int64, device=device).float() / dim


def _plain(theta: float, dim: int) -> Tensor:
    return 1.0 / (theta ** _exponents(dim))


def _llama3(plain: Tensor, rope: RopeSpec) -> Tensor:
    """Long waves divided by the factor, short ones kept, a smooth blend between (Llama 3.1)."""
    wavelength = 2 * math.pi / plain
    longest = rope.original_len / rope.low_freq_factor
    shortest = rope.original_len / rope.high_freq_factor
    scaled = torch.where(wavelength > longest, plain / rope.factor, plain)
    span = rope.high_freq_factor - rope.low_freq_factor
    smooth = (rope.original_len / wavelength - rope.low_freq_factor) / span
    blended = (1 - smooth) * scaled / rope.factor + smooth * scaled
    between = (wavelength >= shortest) & (wavelength <= longest)
    return torch.where(between, blended, scaled)


def _yarn(rope: RopeSpec) -> Tensor:
    """Interpolated and original frequencies, blended over a range of dimensions (2309.00071)."""
    powers = rope.theta ** _exponents(rope.dim)
    original, interpolated = 1.0 / powers, 1.0 / (rope.factor * powers)
    low, high = _yarn_dim(rope.beta_fast, rope), _yarn_dim(rope.beta_slow, rope)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.dim - 1)
    if low == high:
        high += 0.001  # keeps the ramp finite
    ramp = ((torch.arange(rope.dim // 2).float() - low) / (high - low)).clamp(0, 1)
    keep = 1 - ramp
    return interpolated * (1 - keep) + original * keep


def _yarn_dim(rotations: float, rope: RopeSpec) -> float:
    """The dimension whose wave turns `rotations` times over the original context."""
    turns = math.log(rope.original_len / (rotations * 2 * math.pi))
    return rope.dim * turns / (2 * math.log(rope.theta))
