"""h[p] = A[slot] · x[token of p]: the narrow half of LoRA, for all slices of a merged linear.

x [T, K], a [A, n·R, K] (n slices of R rows), ranks [A, n] i32 (true rank of each slice, 0: the
adapter leaves it alone), h [SPLITS, T, n·R] f32, by place p in the plan's sorted tokens, as parts
over K that lora_expand adds up: no atomics, a fixed order of sums. Rows past the true rank of a
slot are not written in whole blocks; lora_expand does not read them.
Grid (tile bound, n · ceil(R / BLOCK_R), SPLITS), a tile's tokens a program, float32 accumulators.
The bound is static and no host value is read: safe in CUDA graphs.
Bound by memory: the slot's A once per tile. Bench: python -m benchmarks.kernels lora
Tolerance against float64: 2e-5 (float32), 2e-3 (fp16), 1.6e-2 (bf16) at unit variance of h.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.gpu import UPCAST, ceil_div, pad, tl, triton
from engine.kernels.lora_plan import TILE, LoraWork
from engine.kernels.tuning import precision_of

SPLIT_K = 1024  # inputs of one program: a 4096-wide model is read by four at a time


def lora_shrink_ref(x_TK: Tensor, a_ANK: Tensor, work: LoraWork) -> Tensor:
    """[T, n·R], in the type of x; zero at places the plan does not use."""
    h_TN = x_TK.new_zeros(x_TK.shape[0], a_ANK.shape[1])
    for slot, first, count in work.tiles[: int(work.num_tiles)].tolist():
        places = slice(first, first + count)
        h_TN[places] = x_TK[work.tokens[places].long()] @ a_ANK[slot].to(x_TK.dtype).T
    return h_TN


@triton.jit
def lora_shrink_kernel(
    p_h, p_x, p_a, p_ranks, p_tokens, p_tiles, p_count, stride_xt, stride_hs, stride_ra, K,
    N_SLICES: tl.constexpr, R: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_K: tl.constexpr,
    SPAN: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    i_tile = tl.program_id(0)
    if i_tile >= tl.load(p_count):
        return
    BLOCKS: tl.constexpr = (R + BLOCK_R - 1) // BLOCK_R
    i_slice = tl.program_id(1) // BLOCKS
    first_r = tl.program_id(1) % BLOCKS * BLOCK_R
    i_split = tl.program_id(2)
    slot = tl.load(p_tiles + i_tile * 3).to(tl.int64)
    first = tl.load(p_tiles + i_tile * 3 + 1)
    count = tl.load(p_tiles + i_tile * 3 + 2)
    rank = tl.load(p_ranks + slot * stride_ra + i_slice)
    if first_r >= rank:
        return
    o_m = tl.arange(0, TILE)
    o_r = first_r + tl.arange(0, BLOCK_R)
    token = tl.load(p_tokens + first + o_m, mask=o_m < count, other=0).to(tl.int64)
    p_row = p_x + token[:, None] * stride_xt
    p_col = p_a + (slot * N_SLICES * R + i_slice * R + o_r)[None, :] * K
    acc = tl.zeros([TILE, BLOCK_R], tl.float32)
    for step in range(i_split * SPAN, tl.minimum(K, (i_split + 1) * SPAN), BLOCK_K):
        o_k = step + tl.arange(0, BLOCK_K)
        in_x = (o_m < count)[:, None] & (o_k < K)[None, :]
        in_a = (o_k < K)[:, None] & (o_r < rank)[None, :]
        b_x = tl.load(p_row + o_k[None, :], mask=in_x, other=0.0)
        b_a = tl.load(p_col + o_k[:, None], mask=in_a, other=0.0)
        if UPCAST:
            b_x, b_a = b_x.to(tl.float32), b_a.to(tl.float32)
        acc = tl.dot(b_x, b_a, acc, input_precision=PRECISION)
    o_h = (first + o_m).to(tl.int64)[:, None] * (N_SLICES * R) + (i_slice * R + o_r)[None, :]
    in_h = (o_m < count)[:, None] & (o_r < R)[None, :]
    tl.store(p_h + i_split * stride_hs + o_h, acc, mask=in_h)


def num_splits(num_in: int, tile: int) -> int:
    """Few tokens leave multiprocessors idle unless K is shared out; the tiles of prompts do not."""
    return ceil_div(num_in, SPLIT_K) if tile == TILE else 1


def lora_shrink(x_TK: Tensor, a_ANK: Tensor, ranks: Tensor, work: LoraWork) -> Tensor:
    """The parts h [SPLITS, T, n·R]; places the plan does not use are undefined."""
    num_slices, splits = ranks.shape[1], num_splits(x_TK.shape[1], work.tile)
    width, rank = a_ANK.shape[1], a_ANK.shape[1] // num_slices
    h = torch.empty(splits, x_TK.shape[0], width, dtype=torch.float32, device=x_TK.device)
    block_r = min(64, pad(rank, 16))
    lora_shrink_kernel[(work.tiles.shape[0], num_slices * ceil_div(rank, block_r), splits)](
        h, x_TK, a_ANK, ranks, work.tokens, work.tiles, work.num_tiles,
        x_TK.stride(0), h.stride(0), ranks.stride(0), x_TK.shape[1],
        N_SLICES=num_slices, R=rank, BLOCK_R=block_r, BLOCK_K=256 // x_TK.element_size(),
        SPAN=SPLIT_K if splits > 1 else pad(x_TK.shape[1]), TILE=work.tile,
        PRECISION=precision_of(x_TK.dtype), num_warps=4, num_stages=3,
    )  # fmt: skip
    return h
