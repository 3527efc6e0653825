"""residual += x; out = residual / sqrt(mean(residual²) + eps) · weight.

x [T, E] or None, residual [T, E] (updated in place), weight [E]; float32 sums, result in the type
of `residual`. Tolerance against float64: 2e-6 relative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.cpu import library


def add_norm_ref(x_TE: Tensor | None, residual_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    if x_TE is not None:
        residual_TE += x_TE
    return norm_ref(residual_TE, weight_E, eps)


def norm_ref(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm over the last dimension."""
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (weight * (wide * scale)).to(x.dtype)


def add_norm(x_TE: Tensor | None, residual_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """Launcher: compiled C on a CPU that has a compiler, else the reference."""
    if residual_TE.device.type == "cpu" and (lib := library()) is not None:
        return lib.add_norm(x_TE, residual_TE, weight_E, eps)
    return add_norm_ref(x_TE, residual_TE, weight_E, eps)
