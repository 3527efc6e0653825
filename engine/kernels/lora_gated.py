"""silu(gate + Δgate) · (up + Δup): the middle of an MLP, with the wide half of LoRA in it.

gate_up [T, 2F] from the base product, h [SPLITS, T, 2R] f32 from lora_shrink, b [A, R, 2F] with the
scale folded in, ranks [A, 2] i32; out [T, F]. In place of lora_expand and gated_activation: gate_up
is read once and never written.
Every token that the plan names is computed, base rows by tiles of slot -1; others are undefined.
Grid (tile bound, blocks of F), a tile's tokens a program; float32 sums, h rounded to the type of b.
Safe in CUDA graphs.
Bound by memory: 3 · T · F elements. Bench: python -m benchmarks.offline_lora
Tolerance against float64: 2e-5 (float32), 4e-3 (fp16), 3e-2 (bf16) at unit variance.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from engine.kernels.gpu import LOG2E, UPCAST, ceil_div, pad, tl, triton
from engine.kernels.lora_expand import sum_parts
from engine.kernels.lora_plan import TILE, LoraWork
from engine.kernels.tuning import precision_of

BLOCKS = {True: (128, 4), False: (64, 4)}  # outputs of a program and its warps, decoding or not


def lora_gated_ref(gate_up_TF: Tensor, h: Tensor, b_ARF: Tensor, work: LoraWork) -> Tensor:
    """`h` as lora_shrink_ref gives it; zero where the plan names no token."""
    rank, width = b_ARF.shape[1], b_ARF.shape[2] // 2
    out_TF = gate_up_TF.new_zeros(gate_up_TF.shape[0], width)
    for slot, first, count in work.tiles.tolist():
        places = slice(first, first + count)
        tokens = work.tokens[places].long()
        gate, up = gate_up_TF[tokens].split(width, dim=1)
        if slot >= 0:
            b_gate, b_up = b_ARF[slot].to(h.dtype).split(width, dim=1)
            gate = gate + h[places, :rank] @ b_gate
            up = up + h[places, rank:] @ b_up
        out_TF[tokens] = F.silu(gate) * up
    return out_TF


@triton.jit
def lora_gated_kernel(
    p_out, p_in, p_h, p_b, p_ranks, p_tokens, p_tiles,
    stride_it, stride_hs, stride_bs, stride_ra, F,
    R: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_F: tl.constexpr, SPLITS: tl.constexpr,
    PARTS: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    p_tile = p_tiles + tl.program_id(0) * 3
    i_slot = tl.load(p_tile)
    first = tl.load(p_tile + 1)
    count = tl.load(p_tile + 2)
    if count == 0:
        return
    adapted = i_slot >= 0
    slot = tl.maximum(i_slot, 0).to(tl.int64)
    o_m = tl.arange(0, TILE)
    token = tl.load(p_tokens + first + o_m, mask=o_m < count, other=0).to(tl.int64)[:, None]
    rank_gate = tl.load(p_ranks + slot * stride_ra, mask=adapted, other=0)
    rank_up = tl.load(p_ranks + slot * stride_ra + 1, mask=adapted, other=0)
    o_f = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    in_f = (o_f < F)[None, :]
    in_m = (o_m < count)[:, None]
    p_gate = p_in + token * stride_it + o_f[None, :]
    gate = tl.load(p_gate, mask=in_m & in_f, other=0.0).to(tl.float32)
    up = tl.load(p_gate + F, mask=in_m & in_f, other=0.0).to(tl.float32)
    p_row = p_h + (first + o_m).to(tl.int64)[:, None] * (2 * R)
    p_col = p_b + slot * stride_bs + o_f[None, :]
    for first_r in range(0, R, BLOCK_R):
        o_r = first_r + tl.arange(0, BLOCK_R)
        in_gate = o_r < rank_gate
        in_up = o_r < rank_up
        b_gate = tl.load(p_col + o_r[:, None] * (2 * F), mask=in_gate[:, None] & in_f, other=0.0)
        b_up = tl.load(p_col + o_r[:, None] * (2 * F) + F, mask=in_up[:, None] & in_f, other=0.0)
        p_part = p_row + o_r[None, :]
        in_h = in_m & adapted & (o_r < R)[None, :]
        h_gate = sum_parts(p_part, stride_hs, in_h, SPLITS, PARTS)
        h_up = sum_parts(p_part + R, stride_hs, in_h, SPLITS, PARTS)
        h_gate, h_up = h_gate.to(b_gate.dtype), h_up.to(b_up.dtype)
        if UPCAST:
            b_gate, b_up = b_gate.to(tl.float32), b_up.to(tl.float32)
            h_gate, h_up = h_gate.to(tl.float32), h_up.to(tl.float32)
        gate = tl.dot(h_gate, b_gate, gate, input_precision=PRECISION)
        up = tl.dot(h_up, b_up, up, input_precision=PRECISION)
    b_out = gate / (1.0 + tl.exp2(-gate * LOG2E)) * up
    tl.store(p_out + token * F + o_f[None, :], b_out.to(p_out.dtype.element_ty), mask=in_m & in_f)


def lora_gated(
    out_TF: Tensor, gate_up_TF: Tensor, h: Tensor, b_ARF: Tensor, ranks: Tensor, work: LoraWork
) -> None:
    """Fill the rows of `out_TF` that the plan names."""
    width, rank = out_TF.shape[1], b_ARF.shape[1]
    block_f, warps = BLOCKS[work.tile == TILE]
    lora_gated_kernel[(work.tiles.shape[0], ceil_div(width, block_f))](
        out_TF, gate_up_TF, h, b_ARF, ranks, work.tokens, work.tiles,
        gate_up_TF.stride(0), h.stride(0), b_ARF.stride(0), ranks.stride(0), width,
        R=rank, BLOCK_R=min(128 // out_TF.element_size(), pad(rank, 16)), BLOCK_F=block_f,
        SPLITS=h.shape[0], PARTS=pad(h.shape[0]), TILE=work.tile,
        PRECISION=precision_of(out_TF.dtype), num_warps=warps, num_stages=1,
    )  # fmt: skip
