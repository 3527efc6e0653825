"""residual += x; out = residual / sqrt(mean(residual²) + eps) · weight, or LayerNorm of residual.

x [T, E] or None, residual [T, E] (updated in place), weight [E]; float32 sums, result in the type
of `residual`. LayerNorm: out = (residual - mean) / sqrt(variance + eps) · weight + bias.
Kernel: grid (T,), one row per program, padded to a power of two. The sum is rounded to the type of
`residual` before it is normed, as the reference does. Safe in CUDA graphs.
Bound by memory: 4 · T · E elements. Bench: python -m benchmarks.kernels rows
Tolerance against float64: 2e-6 relative (float32), 1e-3 (fp16), 8e-3 (bf16).
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.gpu import dependent, follow, on_gpu, pad, tl, triton
from engine.kernels.tuning import row_warps


def add_norm_ref(x_TE: Tensor | None, residual_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    if x_TE is not None:
        residual_TE += x_TE
    return norm_ref(residual_TE, weight_E, eps)


def norm_ref(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm over the last dimension."""
    wide = x if x.dtype == torch.float64 else x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (weight * (wide * scale)).to(x.dtype)


def add_layer_norm_ref(
    x_TE: Tensor | None, residual_TE: Tensor, weight_E: Tensor, bias_E: Tensor | None, eps: float
) -> Tensor:
    if x_TE is not None:
        residual_TE += x_TE
    wide = residual_TE if residual_TE.dtype == torch.float64 else residual_TE.float()
    centred = wide - wide.mean(-1, keepdim=True)
    normed = weight_E * (centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps))
    return (normed if bias_E is None else normed + bias_E).to(residual_TE.dtype)


@triton.jit
def add_norm_kernel(
    p_out, p_x, p_residual, p_weight, p_bias, stride_xt, stride_rt, eps,
    E: tl.constexpr, BLOCK_E: tl.constexpr, HAS_X: tl.constexpr, HAS_BIAS: tl.constexpr,
    IS_LAYER_NORM: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    i_t = tl.program_id(0).to(tl.int64)
    o_e = tl.arange(0, BLOCK_E)
    in_e = o_e < E
    b_weight = tl.load(p_weight + o_e, mask=in_e, other=0.0)
    follow(DEPENDENT)
    p_row = p_residual + i_t * stride_rt + o_e
    b_row = tl.load(p_row, mask=in_e, other=0.0)
    if HAS_X:
        b_x = tl.load(p_x + i_t * stride_xt + o_e, mask=in_e, other=0.0)
        b_row = (b_row.to(tl.float32) + b_x.to(tl.float32)).to(b_row.dtype)
        tl.store(p_row, b_row, mask=in_e)
    wide = b_row.to(tl.float32)
    if IS_LAYER_NORM:
        wide = tl.where(in_e, wide - tl.sum(wide, 0) / E, 0.0)
    wide = wide * tl.rsqrt(tl.sum(wide * wide, 0) / E + eps)
    out = b_weight.to(tl.float32) * wide
    if HAS_BIAS:
        out += tl.load(p_bias + o_e, mask=in_e, other=0.0).to(tl.float32)
    tl.store(p_out + i_t * E + o_e, out.to(p_out.dtype.element_ty), mask=in_e)


def add_norm_gpu(
    x_TE: Tensor | None,
    residual_TE: Tensor,
    weight_E: Tensor,
    eps: float,
    bias_E: Tensor | None = None,
    layer_norm: bool = False,
) -> Tensor:
    num_tokens, width = residual_TE.shape
    out_TE = residual_TE.new_empty(num_tokens, width)
    add_norm_kernel[(num_tokens,)](
        out_TE, x_TE, residual_TE, weight_E, bias_E,
        0 if x_TE is None else x_TE.stride(0), residual_TE.stride(0), eps,
        E=width, BLOCK_E=pad(width), HAS_X=x_TE is not None, HAS_BIAS=bias_E is not None,
        IS_LAYER_NORM=layer_norm, num_warps=row_warps(width), **dependent(residual_TE),
    )  # fmt: skip
    return out_TE


def add_norm(x_TE: Tensor | None, residual_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """Launcher: Triton on a GPU, compiled C on a CPU that has a compiler, else the reference."""
    if on_gpu(residual_TE):
        return add_norm_gpu(x_TE, residual_TE, weight_E, eps)
    if (lib := library()) is not None:
        return lib.add_norm(x_TE, residual_TE, weight_E, eps)
    return add_norm_ref(x_TE, residual_TE, weight_E, eps)


def add_layer_norm(
    x_TE: Tensor | None, residual_TE: Tensor, weight_E: Tensor, bias_E: Tensor | None, eps: float
) -> Tensor:
    """Launcher: Triton on a GPU, compiled C on a CPU that has a compiler, else the reference."""
    if on_gpu(residual_TE):
        return add_norm_gpu(x_TE, residual_TE, weight_E, eps, bias_E, layer_norm=True)
    if residual_TE.dtype == torch.float32 and (lib := library()) is not None:
        return lib.add_layer_norm(x_TE, residual_TE, weight_E, bias_E, eps)
    return add_layer_norm_ref(x_TE, residual_TE, weight_E, bias_E, eps)
