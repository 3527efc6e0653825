"""y = x · Wᵀ + b for very few rows: every weight is read once and nothing else matters.

x [T, K], W [N, K], b [N] or None → y [T, N], all of one type, T ≤ MOST_ROWS; float32 sums.
Kernel: grid (ceil(N / BLOCK_N),); a program keeps BLOCK_N × BLOCK_K products per row in registers
and adds them up once, at its end, so the loop is loads and fused multiply-adds only. Matrix
instructions would pad T to 16 and fetch through shared memory for nothing. Safe in CUDA graphs.
Bound by memory: N · K elements. Bench: python -m benchmarks.kernels skinny
Tolerance against float64: 2e-5 (float32), 2e-3 (fp16), 1.6e-2 (bf16) at unit variance of y.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from engine.kernels.gpu import ceil_div, tl, triton
from engine.kernels.tuning import SkinnyLaunch, skinny_launch

MOST_ROWS = 4  # more rows reuse weights enough for matrix instructions


def skinny_gemm_ref(x_TK: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
    return F.linear(x_TK, weight_NK, bias_N)


@triton.jit
def skinny_gemm_kernel(
    p_y, p_x, p_w, p_bias, stride_xt, N, K, T: tl.constexpr, HAS_BIAS: tl.constexpr,
    EVEN: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    o_n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    in_n = o_n < N
    o_k = tl.arange(0, BLOCK_K)
    p_row = p_w + o_n.to(tl.int64)[:, None] * K
    acc0 = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
    acc1 = acc0
    acc2 = acc0
    acc3 = acc0
    for first in range(0, K, BLOCK_K):
        o = first + o_k
        if EVEN:
            b_w = tl.load(p_row + o[None, :], eviction_policy="evict_first").to(tl.float32)
            in_k = o >= 0
        else:
            in_k = o < K
            b_w = tl.load(p_row + o[None, :], mask=in_n[:, None] & in_k[None, :], other=0.0)
            b_w = b_w.to(tl.float32)
        acc0 += b_w * tl.load(p_x + o, mask=in_k, other=0.0).to(tl.float32)[None, :]
        if T > 1:
            b_x = tl.load(p_x + stride_xt + o, mask=in_k, other=0.0)
            acc1 += b_w * b_x.to(tl.float32)[None, :]
        if T > 2:
            b_x = tl.load(p_x + 2 * stride_xt + o, mask=in_k, other=0.0)
            acc2 += b_w * b_x.to(tl.float32)[None, :]
        if T > 3:
            b_x = tl.load(p_x + 3 * stride_xt + o, mask=in_k, other=0.0)
            acc3 += b_w * b_x.to(tl.float32)[None, :]
    bias = tl.zeros([BLOCK_N], tl.float32)
    if HAS_BIAS:
        bias += tl.load(p_bias + o_n, mask=in_n, other=0.0).to(tl.float32)
    out = p_y.dtype.element_ty
    tl.store(p_y + o_n, (tl.sum(acc0, 1) + bias).to(out), mask=in_n)
    if T > 1:
        tl.store(p_y + N + o_n, (tl.sum(acc1, 1) + bias).to(out), mask=in_n)
    if T > 2:
        tl.store(p_y + 2 * N + o_n, (tl.sum(acc2, 1) + bias).to(out), mask=in_n)
    if T > 3:
        tl.store(p_y + 3 * N + o_n, (tl.sum(acc3, 1) + bias).to(out), mask=in_n)


def skinny_gemm(
    x_TK: Tensor, weight_NK: Tensor, bias_N: Tensor | None, launch: SkinnyLaunch | None = None
) -> Tensor:
    """T ≤ MOST_ROWS, W contiguous. The launch comes from the tuning table unless given."""
    num_rows, width = x_TK.shape
    num_out = weight_NK.shape[0]
    launch = launch or skinny_launch(weight_NK.device, num_out, width, num_rows)
    y_TN = x_TK.new_empty(num_rows, num_out)
    skinny_gemm_kernel[(ceil_div(num_out, launch.block_n),)](
        y_TN, x_TK, weight_NK, bias_N, x_TK.stride(0), num_out, width,
        T=num_rows, HAS_BIAS=bias_N is not None,
        EVEN=num_out % launch.block_n == 0 and width % launch.block_k == 0,
        BLOCK_N=launch.block_n, BLOCK_K=launch.block_k, num_warps=launch.warps, num_stages=1,
    )  # fmt: skip
    return y_TN
