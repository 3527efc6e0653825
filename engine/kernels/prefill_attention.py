"""Attention of prompt chunks over the block table: BLOCK_M packed rows against the cached keys.

Same formula as paged_attention.py; the chunk's own keys are in the cache already. Work items
(sequence, query block) come from the plan kernel, longest first; the grid is (item bound, G),
blocks of one kv head adjacent so that L2 serves their shared keys, and surplus programs exit.
BLOCK_M rows = (BLOCK_M ÷ group) tokens × the group's heads: 128 rows on 8 warps fill two
warpgroups' matrix instructions. Tiles below the diagonal run without masks. Safe in CUDA graphs.
Bound by arithmetic: 4 · D · (visible pairs) · H. Bench: python -m benchmarks.kernels prefill
Tolerance against float64: 5e-6 (float32), 2e-3 (fp16), 1.6e-2 (bf16) absolute at unit variance.
"""

from __future__ import annotations

from torch import Tensor

from engine.kernels.attention_plan import ITEM_WORDS, AttentionWork
from engine.kernels.attention_tiles import attend_span
from engine.kernels.gpu import pad, tl, triton
from engine.kernels.tuning import cache_tile, precision_of


@triton.jit
def prefill_attention_kernel(
    p_out, p_q, p_k, p_v, p_table, p_items, p_counts, p_slopes,
    stride_ot, stride_qt, stride_qh, stride_kn, stride_kg, stride_kb,
    stride_vn, stride_vg, stride_vb, stride_ts, scale, soft_cap, window,
    GROUP: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr,
    TILE: tl.constexpr, CACHE_BLOCK: tl.constexpr, PRECISION: tl.constexpr,
    EVICT: tl.constexpr, IS_CAUSAL: tl.constexpr, HAS_WINDOW: tl.constexpr,
    HAS_CAP: tl.constexpr, HAS_ALIBI: tl.constexpr, ITEM_WORDS: tl.constexpr,
):  # fmt: skip
    i_item = tl.program_id(0)
    i_g = tl.program_id(1)
    if i_item >= tl.load(p_counts + 1):
        return
    BLOCK_Q: tl.constexpr = BLOCK_M // GROUP
    p_item = p_items + i_item * ITEM_WORDS
    seq = tl.load(p_item).to(tl.int64)
    kv_len = tl.load(p_item + 1)
    q_first = tl.load(p_item + 2).to(tl.int64)
    q_len = tl.load(p_item + 3)
    first_query = tl.load(p_item + 4)
    o_m = tl.arange(0, BLOCK_M)
    o_d = tl.arange(0, BLOCK_D)
    num_queries = tl.minimum(q_len - first_query, BLOCK_Q)
    i_token = o_m // GROUP
    i_head = i_g * GROUP + o_m % GROUP
    in_rows = i_token < num_queries
    real = in_rows[:, None] & (o_d < D)[None, :]
    q_lo = kv_len - q_len + first_query
    q_hi = q_lo + num_queries - 1
    q_pos = tl.minimum(q_lo + i_token, q_hi)
    i_row = q_first + first_query + i_token
    p_row = p_q + i_row[:, None] * stride_qt + i_head[:, None] * stride_qh
    b_q = tl.load(p_row + o_d[None, :], mask=real, other=0.0)
    slope = q_pos
    if HAS_ALIBI:
        slope = tl.load(p_slopes + i_head, mask=in_rows, other=0.0)
    out, _ = attend_span(
        b_q, q_pos, slope, q_lo, q_hi,
        p_k + i_g.to(tl.int64) * stride_kg, p_v + i_g.to(tl.int64) * stride_vg,
        p_table + seq * stride_ts, 0, kv_len, kv_len,
        stride_kn, stride_kb, stride_vn, stride_vb, scale, soft_cap, window,
        D, BLOCK_D, BLOCK_M, TILE, CACHE_BLOCK, PRECISION, EVICT,
        IS_CAUSAL, HAS_WINDOW, HAS_CAP, HAS_ALIBI,
    )  # fmt: skip
    p_o = p_out + i_row[:, None] * stride_ot + i_head[:, None] * D + o_d[None, :]
    tl.store(p_o, out.to(p_out.dtype.element_ty), mask=real)


def prefill_attention(
    out_THD: Tensor,
    q_THD: Tensor,
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    block_table: Tensor,
    work: AttentionWork,
    scale: float,
    *,
    window: int = 0,
    soft_cap: float = 0.0,
    slopes_H: Tensor | None = None,
    causal: bool = True,
) -> None:
    """Fill `out_THD` for the sequences the plan gave to prefill; other rows stay as they are."""
    num_heads, dim = q_THD.shape[1:]
    num_kv_heads, block_size = k_cache_NGBD.shape[1:3]
    launch = work.prefill_launch
    tile = cache_tile(block_size, launch.tile)
    prefill_attention_kernel[(work.prefill_items.shape[0], num_kv_heads)](
        out_THD, q_THD, k_cache_NGBD, v_cache_NGBD, block_table, work.prefill_items, work.counts,
        slopes_H,
        out_THD.stride(0), q_THD.stride(0), q_THD.stride(1), *k_cache_NGBD.stride()[:3],
        *v_cache_NGBD.stride()[:3], block_table.stride(0), scale, soft_cap, window,
        GROUP=num_heads // num_kv_heads, D=dim, BLOCK_D=pad(dim, 16), BLOCK_M=launch.rows,
        TILE=tile, CACHE_BLOCK=block_size, PRECISION=precision_of(q_THD.dtype),
        EVICT=launch.evict, IS_CAUSAL=causal, HAS_WINDOW=window > 0, HAS_CAP=soft_cap > 0,
        HAS_ALIBI=slopes_H is not None, ITEM_WORDS=ITEM_WORDS,
        num_warps=launch.warps, num_stages=launch.stages,
    )  # fmt: skip
