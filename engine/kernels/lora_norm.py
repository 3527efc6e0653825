"""residual += x + B[slot] · h; out = residual / sqrt(mean(residual²) + eps) · weight, row by row.

The wide half of LoRA for o and down within the norm that follows them, for steps that decode: one
launch less, x is read once and not written. x, residual [T, E] (updated in place), h [SPLITS, T, R]
f32 from lora_shrink, b [A, R, E] with the scale folded in, ranks [A, 1] i32. Every token that the
plan names is computed, base rows by tiles of slot -1; others are undefined.
Grid (tile bound, tokens of a tile), a row a program; float32 sums, h rounded to the type of b and
the sum to that of `residual`. Safe in CUDA graphs.
Bound by memory: the slot's B once a row from the L2 cache. Prompts have better: lora_expand reads B
once a tile. Bench: python -m benchmarks.offline_lora
Tolerance against float64: 2e-5 (float32), 4e-3 (fp16), 3e-2 (bf16) at unit variance.
"""

from __future__ import annotations

from torch import Tensor

from engine.kernels.gpu import pad, tl, triton
from engine.kernels.lora_plan import LoraWork
from engine.kernels.tuning import row_warps


@triton.jit
def lora_norm_kernel(
    p_out, p_x, p_residual, p_weight, p_h, p_b, p_ranks, p_tokens, p_tiles,
    stride_xt, stride_rt, stride_hs, stride_bs, stride_ra, eps,
    E: tl.constexpr, BLOCK_E: tl.constexpr, R: tl.constexpr, BLOCK_R: tl.constexpr,
    SPLITS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    p_tile = p_tiles + tl.program_id(0) * 3
    i_slot = tl.load(p_tile)
    first = tl.load(p_tile + 1)
    count = tl.load(p_tile + 2)
    i_m = tl.program_id(1)
    if i_m >= count:
        return
    place = (first + i_m).to(tl.int64)
    token = tl.load(p_tokens + place).to(tl.int64)
    slot = tl.maximum(i_slot, 0).to(tl.int64)
    rank = tl.load(p_ranks + slot * stride_ra, mask=i_slot >= 0, other=0)
    o_e = tl.arange(0, BLOCK_E)
    in_e = o_e < E
    p_row = p_residual + token * stride_rt + o_e
    b_row = tl.load(p_row, mask=in_e, other=0.0)
    x = tl.load(p_x + token * stride_xt + o_e, mask=in_e, other=0.0).to(tl.float32)
    o_s = tl.arange(0, PARTS)[:, None]
    for first_r in range(0, rank, BLOCK_R):
        o_r = first_r + tl.arange(0, BLOCK_R)
        p_wide = p_b + slot * stride_bs + o_r[:, None] * E + o_e[None, :]
        b_b = tl.load(p_wide, mask=(o_r < rank)[:, None] & in_e[None, :], other=0.0)
        p_part = p_h + o_s * stride_hs + place * R + o_r[None, :]
        parts = tl.load(p_part, mask=(o_s < SPLITS) & (o_r < rank)[None, :], other=0.0)
        b_h = tl.sum(parts, 0).to(b_b.dtype).to(tl.float32)
        x += tl.sum(b_h[:, None] * b_b.to(tl.float32), 0)
    b_row = (b_row.to(tl.float32) + x).to(b_row.dtype)
    tl.store(p_row, b_row, mask=in_e)
    wide = b_row.to(tl.float32)
    wide = wide * tl.rsqrt(tl.sum(wide * wide, 0) / E + eps)
    out = tl.load(p_weight + o_e, mask=in_e, other=0.0).to(tl.float32) * wide
    tl.store(p_out + token * E + o_e, out.to(p_out.dtype.element_ty), mask=in_e)


def lora_norm(
    out_TE: Tensor,
    x_TE: Tensor,
    residual_TE: Tensor,
    weight_E: Tensor,
    eps: float,
    h: Tensor,
    b_ARE: Tensor,
    ranks: Tensor,
    work: LoraWork,
) -> None:
    """Fill the rows of `out_TE` that the plan names, and bring their `residual_TE` forward."""
    width, rank = residual_TE.shape[1], b_ARE.shape[1]
    lora_norm_kernel[(work.tiles.shape[0], work.tile)](
        out_TE, x_TE, residual_TE, weight_E, h, b_ARE, ranks, work.tokens, work.tiles,
        x_TE.stride(0), residual_TE.stride(0), h.stride(0), b_ARE.stride(0), ranks.stride(0), eps,
        E=width, BLOCK_E=pad(width), R=rank, BLOCK_R=min(8, rank), SPLITS=h.shape[0],
        PARTS=pad(h.shape[0]), num_warps=min(16, 2 * row_warps(width)), num_stages=1,
    )  # fmt: skip
