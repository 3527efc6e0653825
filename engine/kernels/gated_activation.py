"""out = act(gate) · up, gate and up side by side: gate_up [T, 2F] → [T, F].

silu(x) = x / (1 + e⁻ˣ), gelu(x) = x / 2 · (1 + erf(x / √2)), gelu_tanh its
tanh form as Gemma uses it.

Kernel: grid (T, ceil(F / 1024)), float32 inside. Bound by memory: 3 · T · F elements. Safe in CUDA
graphs. Bench: python -m benchmarks.kernels rows
Tolerance against float64: 2e-6 relative (float32), 1e-3 (fp16), 8e-3 (bf16).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.gpu import LOG2E, ceil_div, dependent, follow, on_gpu, tl, triton

Activation = Literal["silu", "gelu", "gelu_tanh"]
BLOCK = 1024


def silu_mul_ref(gate_up_TF: Tensor) -> Tensor:
    gate_TF, up_TF = gate_up_TF.chunk(2, dim=-1)
    return F.silu(gate_TF) * up_TF


def gelu_mul_ref(gate_up_TF: Tensor, tanh: bool) -> Tensor:
    gate_TF, up_TF = gate_up_TF.chunk(2, dim=-1)
    return F.gelu(gate_TF, approximate="tanh" if tanh else "none") * up_TF


@triton.jit
def gated_activation_kernel(
    p_out, p_in, stride_t, F, KIND: tl.constexpr, BLOCK_F: tl.constexpr, DEPENDENT: tl.constexpr
):  # fmt: skip
    follow(DEPENDENT)
    i_t = tl.program_id(0).to(tl.int64)
    o_f = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    in_f = o_f < F
    p_gate = p_in + i_t * stride_t + o_f
    gate = tl.load(p_gate, mask=in_f, other=0.0).to(tl.float32)
    up = tl.load(p_gate + F, mask=in_f, other=0.0).to(tl.float32)
    if KIND == "silu":
        active = gate / (1.0 + tl.exp2(-gate * LOG2E))
    elif KIND == "gelu":
        active = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    else:  # x / 2 · (1 + tanh y) = x / (1 + e^-2y)
        y = 0.7978845608028654 * (gate + 0.044715 * gate * gate * gate)
        active = gate / (1.0 + tl.exp2(y * (-2.0 * LOG2E)))
    tl.store(p_out + i_t * F + o_f, (active * up).to(p_out.dtype.element_ty), mask=in_f)


def gated_activation_gpu(gate_up_TF: Tensor, kind: Activation) -> Tensor:
    num_tokens, width = gate_up_TF.shape[0], gate_up_TF.shape[1] // 2
    out_TF = gate_up_TF.new_empty(num_tokens, width)
    gated_activation_kernel[(num_tokens, ceil_div(width, BLOCK))](
        out_TF, gate_up_TF, gate_up_TF.stride(0), width, KIND=kind, BLOCK_F=BLOCK, num_warps=4,
        **dependent(gate_up_TF),
    )  # fmt: skip
    return out_TF


def silu_mul(gate_up_TF: Tensor) -> Tensor:
    """Launcher: Triton on a GPU, compiled C on a CPU that has a compiler, else the reference."""
    if on_gpu(gate_up_TF):
        return gated_activation_gpu(gate_up_TF, "silu")
    if (lib := library()) is not None:
        return lib.silu_mul(gate_up_TF)
    return silu_mul_ref(gate_up_TF)


def gelu_mul(gate_up_TF: Tensor, tanh: bool) -> Tensor:
    """Launcher: Triton on a GPU, compiled C on a CPU that has a compiler, else the reference."""
    if on_gpu(gate_up_TF):
        return gated_activation_gpu(gate_up_TF, "gelu_tanh" if tanh else "gelu")
    if not tanh and gate_up_TF.dtype == torch.float32 and (lib := library()) is not None:
        return lib.gelu(gate_up_TF, gated=True)
    return gelu_mul_ref(gate_up_TF, tanh)


def gelu_ref(x_TF: Tensor) -> Tensor:
    return F.gelu(x_TF)


def gelu(x_TF: Tensor) -> Tensor:
    """gelu(x) alone. Launcher: compiled C on a CPU that has a compiler, else the reference."""
    if x_TF.device.type == "cpu" and x_TF.dtype == torch.float32 and (lib := library()) is not None:
        return lib.gelu(x_TF, gated=False)
    return gelu_ref(x_TF)


def activate(x: Tensor, kind: str) -> Tensor:
    """gelu, gelu_tanh, relu, silu, tanh or identity."""
    if kind == "gelu":
        return gelu(x)
    if kind == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    if kind == "relu":
        return F.relu(x)
    if kind == "silu":
        return F.silu(x)
    return torch.tanh(x) if kind == "tanh" else x
