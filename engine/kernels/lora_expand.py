"""y[token of p] += h[p] · B[slot]: the wide half of LoRA, all slices of a linear in one launch.

h [SPLITS, T, n·R] f32 from lora_shrink, zero past a true rank, whose parts are added here; b
[A, R, N] with the scale folded in, ranks [A, n] i32, y [T, N] in place. A block of outputs lies
within one slice and reads that slice's R numbers of h: `blocks` holds slice, first and last + 1
output of each.
Every (token, output) belongs to one program: no atomics. h is rounded to the type of b.
Grid (tile bound, output blocks), a tile's tokens a program. Safe in CUDA graphs.
Bound by memory: the slot's B once per tile, y twice. Bench: python -m benchmarks.kernels lora
Tolerance against float64: 2e-5 (float32), 2e-3 (fp16), 1.6e-2 (bf16) at unit variance of y.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.gpu import UPCAST, pad, tl, triton
from engine.kernels.lora_plan import TILE, LoraWork
from engine.kernels.tuning import precision_of

BLOCK_N = 128


@dataclass(frozen=True, slots=True)
class OutputBlocks:
    """How a linear's outputs are shared out; made once."""

    table: Tensor  # [blocks, 3] i32: slice, first output, end of the slice
    even: bool  # every block is whole, so y is read and written 16 bytes at a time


def output_blocks(widths: tuple[int, ...], device: torch.device) -> OutputBlocks:
    rows, start = [], 0
    for s, width in enumerate(widths):
        rows += [(s, first, start + width) for first in range(start, start + width, BLOCK_N)]
        start += width
    table = torch.tensor(rows, dtype=torch.int32, device=device)
    return OutputBlocks(table, all(width % BLOCK_N == 0 for width in widths))


def lora_expand_ref(
    y_TN: Tensor, h_TN: Tensor, b_ARN: Tensor, widths: tuple[int, ...], work: LoraWork
) -> None:
    """`h_TN` as lora_shrink_ref gives it."""
    rank = b_ARN.shape[1]
    for slot, first, count in work.tiles.tolist():
        if slot < 0:
            continue
        places, start = slice(first, first + count), 0
        tokens = work.tokens[places].long()
        for s, width in enumerate(widths):
            part = h_TN[places, s * rank : (s + 1) * rank]
            wide = b_ARN[slot, :, start : start + width].to(part.dtype)
            y_TN[tokens, start : start + width] += part @ wide
            start += width


@triton.jit
def sum_parts(p_parts, stride, mask, SPLITS: tl.constexpr, PARTS: tl.constexpr):
    """h [TILE, BLOCK_R] of its parts, in a fixed order; all loads are under way at once."""
    o_s = tl.arange(0, PARTS)[:, None, None]
    in_h = (o_s < SPLITS) & mask[None, :, :]
    return tl.sum(tl.load(p_parts[None, :, :] + o_s * stride, mask=in_h, other=0.0), 0)


@triton.jit
def lora_expand_kernel(
    p_y, p_h, p_b, p_ranks, p_blocks, p_tokens, p_tiles,
    stride_yt, stride_hs, stride_bs, stride_ra, N,
    N_SLICES: tl.constexpr, R: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr,
    SPLITS: tl.constexpr, PARTS: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
    EVEN: tl.constexpr,
):  # fmt: skip
    p_tile = p_tiles + tl.program_id(0) * 3
    p_block = p_blocks + tl.program_id(1) * 3
    i_slot = tl.load(p_tile)
    first = tl.load(p_tile + 1)
    count = tl.load(p_tile + 2)
    i_slice = tl.load(p_block)
    first_n = tl.load(p_block + 1)
    end_n = tl.load(p_block + 2)
    if (count == 0) | (i_slot < 0):
        return
    if EVEN:
        first_n = tl.multiple_of(first_n, BLOCK_N)
        end_n = tl.multiple_of(end_n, BLOCK_N)
    slot = i_slot.to(tl.int64)
    o_m = tl.arange(0, TILE)
    o_n = first_n + tl.arange(0, BLOCK_N)
    token = tl.load(p_tokens + first + o_m, mask=o_m < count, other=0).to(tl.int64)
    rank = tl.load(p_ranks + slot * stride_ra + i_slice)
    if rank == 0:
        return
    p_out = p_y + token[:, None] * stride_yt + o_n[None, :]
    in_y = (o_m < count)[:, None] & (o_n < end_n)[None, :]
    acc = tl.load(p_out, mask=in_y, other=0.0).to(tl.float32)
    p_row = p_h + (first + o_m).to(tl.int64)[:, None] * (N_SLICES * R) + i_slice * R
    p_col = p_b + slot * stride_bs + o_n[None, :]
    for first_r in range(0, R, BLOCK_R):
        o_r = first_r + tl.arange(0, BLOCK_R)
        in_h = (o_m < count)[:, None] & (o_r < R)[None, :]
        b_h = sum_parts(p_row + o_r[None, :], stride_hs, in_h, SPLITS, PARTS)
        in_b = (o_r < rank)[:, None] & (o_n < end_n)[None, :]
        b_b = tl.load(p_col + o_r[:, None] * N, mask=in_b, other=0.0)
        b_h = b_h.to(b_b.dtype)
        if UPCAST:
            b_h, b_b = b_h.to(tl.float32), b_b.to(tl.float32)
        acc = tl.dot(b_h, b_b, acc, input_precision=PRECISION)
    tl.store(p_out, acc.to(p_y.dtype.element_ty), mask=in_y)


def lora_expand(
    y_TN: Tensor, h: Tensor, b_ARN: Tensor, ranks: Tensor, blocks: OutputBlocks, work: LoraWork
) -> None:
    """Add to the rows of `y_TN` that the plan names; other rows stay as they are."""
    rank = b_ARN.shape[1]
    lora_expand_kernel[(work.tiles.shape[0], blocks.table.shape[0])](
        y_TN, h, b_ARN, ranks, blocks.table, work.tokens, work.tiles,
        y_TN.stride(0), h.stride(0), b_ARN.stride(0), ranks.stride(0), b_ARN.shape[2],
        N_SLICES=ranks.shape[1], R=rank, BLOCK_R=min(128 // y_TN.element_size(), pad(rank, 16)),
        BLOCK_N=BLOCK_N, SPLITS=h.shape[0], PARTS=pad(h.shape[0]), TILE=work.tile,
        PRECISION=precision_of(y_TN.dtype), EVEN=blocks.even,
        num_warps=2 if work.tile == TILE else 8, num_stages=2,
    )  # fmt: skip
