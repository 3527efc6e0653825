"""h[p] = A[slot] · x[token of p]: the narrow half of LoRA, for all slices of a merged linear.

x [T, K], a [A, n·R, K] (n slices of R rows), ranks [A, n] i32 (true rank of each slice, 0: the
adapter leaves it alone), h [SPLITS, T, n·R] f32, by place p in the plan's sorted tokens, as parts
over K that lora_expand adds up: no atomics, a fixed order of sums. Rows past a true rank are zero.
Grid (tile bound, ceil(n·R / BLOCK_R), SPLITS), a tile's tokens a program, float32 accumulators:
the slices share what is read of x. The bound is static and no host value is read: safe in CUDA
graphs.
Bound by memory: the slot's A once per tile. Bench: python -m benchmarks.kernels lora
Tolerance against float64: 2e-5 (float32), 2e-3 (fp16), 1.6e-2 (bf16) at unit variance of h.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.gpu import UPCAST, ceil_div, pad, tl, triton
from engine.kernels.lora_plan import LoraWork
from engine.kernels.tuning import precision_of

FEW_TILES = 64  # up to here multiprocessors would idle unless K is shared out


def lora_shrink_ref(x_TK: Tensor, a_ANK: Tensor, work: LoraWork) -> Tensor:
    """[T, n·R], in the type of x; zero at places the plan does not use."""
    h_TN = x_TK.new_zeros(x_TK.shape[0], a_ANK.shape[1])
    for slot, first, count in work.tiles.tolist():
        if slot < 0:
            continue
        places = slice(first, first + count)
        h_TN[places] = x_TK[work.tokens[places].long()] @ a_ANK[slot].to(x_TK.dtype).T
    return h_TN


@triton.jit
def lora_shrink_kernel(
    p_h, p_x, p_a, p_ranks, p_tokens, p_tiles, stride_xt, stride_hs, stride_as, stride_ra, K,
    WIDTH: tl.constexpr, R: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_K: tl.constexpr,
    SPAN: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    p_tile = p_tiles + tl.program_id(0) * 3
    i_slot = tl.load(p_tile)
    first = tl.load(p_tile + 1)
    count = tl.load(p_tile + 2)
    if (count == 0) | (i_slot < 0):
        return
    i_split = tl.program_id(2)
    slot = i_slot.to(tl.int64)
    o_m = tl.arange(0, TILE)
    o_r = tl.program_id(1) * BLOCK_R + tl.arange(0, BLOCK_R)
    token = tl.load(p_tokens + first + o_m, mask=o_m < count, other=0).to(tl.int64)
    rank = tl.load(p_ranks + slot * stride_ra + o_r // R, mask=o_r < WIDTH, other=0)
    in_r = (o_r % R) < rank
    p_row = p_x + token[:, None] * stride_xt
    p_col = p_a + slot * stride_as + o_r[None, :] * K
    acc = tl.zeros([TILE, BLOCK_R], tl.float32)
    for step in range(i_split * SPAN, tl.minimum(K, (i_split + 1) * SPAN), BLOCK_K):
        o_k = step + tl.arange(0, BLOCK_K)
        in_x = (o_m < count)[:, None] & (o_k < K)[None, :]
        in_a = (o_k < K)[:, None] & in_r[None, :]
        b_x = tl.load(p_row + o_k[None, :], mask=in_x, other=0.0)
        b_a = tl.load(p_col + o_k[:, None], mask=in_a, other=0.0)
        if UPCAST:
            b_x, b_a = b_x.to(tl.float32), b_a.to(tl.float32)
        acc = tl.dot(b_x, b_a, acc, input_precision=PRECISION)
    o_h = (first + o_m).to(tl.int64)[:, None] * WIDTH + o_r[None, :]
    in_h = (o_m < count)[:, None] & (o_r < WIDTH)[None, :]
    tl.store(p_h + i_split * stride_hs + o_h, acc, mask=in_h)


def span_of(num_in: int, work: LoraWork) -> int:
    """Inputs of one program; every part of K costs lora_expand a read."""
    span = max(1024, pad(num_in) // 8) if work.tiles.shape[0] <= FEW_TILES else 4096
    return min(span, pad(num_in))


def lora_shrink(x_TK: Tensor, a_ANK: Tensor, ranks: Tensor, work: LoraWork) -> Tensor:
    """The parts h [SPLITS, T, n·R]; places the plan does not use are undefined."""
    num_in, width = x_TK.shape[1], a_ANK.shape[1]
    span = span_of(num_in, work)
    splits = ceil_div(num_in, span)
    h = torch.empty(splits, x_TK.shape[0], width, dtype=torch.float32, device=x_TK.device)
    block_r = min(64, pad(width, 16))
    lora_shrink_kernel[(work.tiles.shape[0], ceil_div(width, block_r), splits)](
        h, x_TK, a_ANK, ranks, work.tokens, work.tiles,
        x_TK.stride(0), h.stride(0), a_ANK.stride(0), ranks.stride(0), num_in,
        WIDTH=width, R=width // ranks.shape[1], BLOCK_R=block_r,
        BLOCK_K=256 // x_TK.element_size(), SPAN=span, TILE=work.tile,
        PRECISION=precision_of(x_TK.dtype), num_warps=4, num_stages=3,
    )  # fmt: skip
    return h
