"""out = silu(gate) · up, gate and up side by side: gate_up [T, 2F] → [T, F]. silu(x) = x / (1 + e⁻ˣ).

Tolerance against float64: 2e-6 relative.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from engine.kernels.cpu import library


def silu_mul_ref(gate_up_TF: Tensor) -> Tensor:
    gate_TF, up_TF = gate_up_TF.chunk(2, dim=-1)
    return F.silu(gate_TF) * up_TF


def silu_mul(gate_up_TF: Tensor) -> Tensor:
    """Launcher: compiled C on a CPU that has a compiler, else the reference."""
    if gate_up_TF.device.type == "cpu" and (lib := library()) is not None:
        return lib.silu_mul(gate_up_TF)
    return silu_mul_ref(gate_up_TF)
