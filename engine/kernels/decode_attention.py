"""Attention of few queries per sequence over the block table: split over keys, GQA rows packed.

Same formula as paged_attention.py. Work items (sequence, span of keys) come from the plan kernel;
the grid is (G, item bound) and surplus programs exit. A program packs the q_len · group rows that
share a kv head into ROWS ≥ 16 matrix rows, so K and V are read once per kv head; q_len > 1 verifies
drafts. A sequence in one span writes its output directly; else each program stores a float32 part
and its log2-sum-exp, and the last to arrive (device counter, reset by it) combines them in span
order, which keeps the sum's order fixed. No host value is read: safe in CUDA graphs.
Bound by memory: 2 · kv bytes per sequence. Bench: python -m benchmarks.kernels decode
Tolerance against float64: 5e-6 (float32), 2e-3 (fp16), 1.6e-2 (bf16) absolute at unit variance.
"""

from __future__ import annotations

from torch import Tensor

from engine.kernels.attention_plan import ITEM_WORDS, AttentionWork
from engine.kernels.attention_tiles import attend_span
from engine.kernels.gpu import dependent, follow, pad, tl, triton
from engine.kernels.tuning import cache_tile, precision_of


@triton.jit
def combine_parts(
    p_parts, p_lse, first_item, num_parts, num_g, i_g, num_rows,
    D: tl.constexpr, BLOCK_D: tl.constexpr, PART_ROWS: tl.constexpr, PARTS: tl.constexpr,
    OUT_ROWS: tl.constexpr,
):  # fmt: skip
    """Σ 2^lse · part ÷ Σ 2^lse over a sequence's parts, [OUT_ROWS, BLOCK_D].

    PARTS of them are loaded at a time: one after the other each would wait for L2 in turn. The
    loads bypass L1 (.cg), which knows nothing of other multiprocessors' stores.
    """
    o_r = tl.arange(0, OUT_ROWS)
    o_d = tl.arange(0, BLOCK_D)
    acc = tl.zeros([OUT_ROWS, BLOCK_D], tl.float32)
    top = tl.full([OUT_ROWS], float("-inf"), tl.float32)
    norm = tl.zeros([OUT_ROWS], tl.float32)
    for first in range(0, num_parts, PARTS):
        i_part = first + tl.arange(0, PARTS)
        here = (i_part < num_parts)[:, None] & (o_r < num_rows)[None, :]
        o_part = ((first_item + i_part).to(tl.int64) * num_g + i_g)[:, None] * PART_ROWS
        o_part += o_r[None, :]
        b_lse = tl.load(p_lse + o_part, mask=here, other=float("-inf"), cache_modifier=".cg")
        p_part = p_parts + o_part[:, :, None] * D + o_d[None, None, :]
        in_part = here[:, :, None] & (o_d < D)[None, None, :]
        b_part = tl.load(p_part, mask=in_part, other=0.0, cache_modifier=".cg")
        new_top = tl.maximum(top, tl.max(b_lse, 0))
        base = tl.where(new_top == float("-inf"), 0.0, new_top)  # -inf - -inf is no number
        fade = tl.exp2(top - base)
        weight = tl.exp2(b_lse - base[None, :])
        acc = acc * fade[:, None] + tl.sum(b_part * weight[:, :, None], 0)
        norm = norm * fade + tl.sum(weight, 0)
        top = new_top
    return acc / tl.where(norm > 0.0, norm, 1.0)[:, None]


@triton.jit
def decode_attention_kernel(
    p_out, p_q, p_k, p_v, p_table, p_items, p_counts, p_parts, p_lse, p_arrivals, p_slopes,
    stride_ot, stride_qt, stride_qh, stride_kn, stride_kg, stride_kb,
    stride_vn, stride_vg, stride_vb, stride_ts, scale, soft_cap, window,
    GROUP: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, ROWS: tl.constexpr,
    PART_ROWS: tl.constexpr, OUT_ROWS: tl.constexpr, PARTS: tl.constexpr,
    TILE: tl.constexpr, CACHE_BLOCK: tl.constexpr,
    PRECISION: tl.constexpr, EVICT: tl.constexpr, IS_CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr, HAS_CAP: tl.constexpr, HAS_ALIBI: tl.constexpr,
    ITEM_WORDS: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    follow(DEPENDENT)
    i_g = tl.program_id(0)
    i_item = tl.program_id(1)
    num_items = tl.load(p_counts)
    p_item = p_items + i_item * ITEM_WORDS
    seq = tl.load(p_item).to(tl.int64)
    kv_len = tl.load(p_item + 1)
    q_first = tl.load(p_item + 2).to(tl.int64)
    q_len = tl.load(p_item + 3)
    first_token = tl.load(p_item + 4)
    last_token = tl.load(p_item + 5)
    first_item = tl.load(p_item + 6)
    num_parts = tl.load(p_item + 7)
    if i_item >= num_items:
        return
    o_m = tl.arange(0, ROWS)
    o_d = tl.arange(0, BLOCK_D)
    i_token = o_m // GROUP
    i_head = i_g * GROUP + o_m % GROUP
    real = (i_token < q_len)[:, None] & (o_d < D)[None, :]
    q_pos = kv_len - q_len + tl.minimum(i_token, q_len - 1)
    p_row = p_q + (q_first + i_token)[:, None] * stride_qt + i_head[:, None] * stride_qh
    b_q = tl.load(p_row + o_d[None, :], mask=real, other=0.0)
    slope = q_pos
    if HAS_ALIBI:
        slope = tl.load(p_slopes + i_head, mask=i_token < q_len, other=0.0)
    out, lse = attend_span(
        b_q, q_pos, slope, kv_len - q_len, kv_len - 1,
        p_k + i_g.to(tl.int64) * stride_kg, p_v + i_g.to(tl.int64) * stride_vg,
        p_table + seq * stride_ts, first_token, last_token, kv_len,
        stride_kn, stride_kb, stride_vn, stride_vb, scale, soft_cap, window,
        D, BLOCK_D, ROWS, TILE, CACHE_BLOCK, PRECISION, EVICT,
        IS_CAUSAL, HAS_WINDOW, HAS_CAP, HAS_ALIBI,
    )  # fmt: skip
    p_o = p_out + (q_first + i_token)[:, None] * stride_ot + i_head[:, None] * D + o_d[None, :]
    if num_parts == 1:
        tl.store(p_o, out.to(p_out.dtype.element_ty), mask=real)
    else:
        num_g = tl.num_programs(0)
        o_part = (i_item.to(tl.int64) * num_g + i_g) * PART_ROWS + o_m
        tl.store(p_parts + o_part[:, None] * D + o_d[None, :], out, mask=real)
        tl.store(p_lse + o_part, lse, mask=i_token < q_len)
        tl.debug_barrier()  # every thread's part is written before thread 0 announces it
        p_arrived = p_arrivals + seq * num_g + i_g
        arrived = tl.atomic_add(p_arrived, 1, sem="acq_rel", scope="gpu")
        if arrived == num_parts - 1:
            tl.store(p_arrived, 0)
            combined = combine_parts(
                p_parts, p_lse, first_item, num_parts, num_g, i_g, q_len * GROUP,
                D, BLOCK_D, PART_ROWS, PARTS, OUT_ROWS,
            )  # fmt: skip
            o_r = tl.arange(0, OUT_ROWS)
            p_whole = p_out + (q_first + o_r // GROUP)[:, None] * stride_ot
            p_whole += (i_g * GROUP + o_r % GROUP)[:, None] * D + o_d[None, :]
            in_out = (o_r < q_len * GROUP)[:, None] & (o_d < D)[None, :]
            tl.store(p_whole, combined.to(p_out.dtype.element_ty), mask=in_out)


def decode_attention(
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
    """Fill `out_THD` for the sequences the plan gave to decode; other rows stay as they are."""
    num_heads, dim = q_THD.shape[1:]
    num_kv_heads, block_size = k_cache_NGBD.shape[1:3]
    group = num_heads // num_kv_heads
    part_rows = work.max_decode_q * group
    launch = work.decode_launch
    tile = cache_tile(block_size, launch.tile)
    decode_attention_kernel[(num_kv_heads, work.decode_items.shape[0])](
        out_THD, q_THD, k_cache_NGBD, v_cache_NGBD, block_table, work.decode_items, work.counts,
        work.parts, work.parts_lse, work.arrivals, slopes_H,
        out_THD.stride(0), q_THD.stride(0), q_THD.stride(1), *k_cache_NGBD.stride()[:3],
        *v_cache_NGBD.stride()[:3], block_table.stride(0), scale, soft_cap, window,
        GROUP=group, D=dim, BLOCK_D=pad(dim, 16), ROWS=pad(part_rows, 16),
        PART_ROWS=part_rows, OUT_ROWS=pad(part_rows), PARTS=parts_at_once(part_rows, dim),
        TILE=tile, CACHE_BLOCK=block_size,
        PRECISION=precision_of(q_THD.dtype), EVICT=launch.evict, IS_CAUSAL=causal,
        HAS_WINDOW=window > 0, HAS_CAP=soft_cap > 0, HAS_ALIBI=slopes_H is not None,
        ITEM_WORDS=ITEM_WORDS, num_warps=launch.warps, num_stages=launch.stages,
        **dependent(q_THD),
    )  # fmt: skip


def parts_at_once(part_rows: int, dim: int) -> int:
    """Parts of a split sequence combined in one turn: at most 8,192 numbers held by a program."""
    return max(1, 8192 // (pad(part_rows) * pad(dim, 16)))
