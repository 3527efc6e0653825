"""The loop over cache tiles that decode and prefill attention share.

Per tile of TILE keys: s = q · k, running maximum m, sum `total` and output acc in float32 (online
softmax). The scale is folded into the exponent, p = exp2(s·c - m·c) with c = scale · log2 e, one
fused multiply-add per score; with a soft cap or ALiBi the scores are finished first and c = 1.
A tile lies inside one cache block, or is two of them: one or two scalar block ids address it.
"""

from __future__ import annotations

from engine.kernels.gpu import FLOOR, LOG2E, UPCAST, tl, triton


@triton.jit
def tile_dot(a, b, PRECISION: tl.constexpr):
    """a · b with float32 accumulation; float32 operands as three tf32 products."""
    if UPCAST:
        return tl.dot(a.to(tl.float32), b.to(tl.float32))
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def finish_scores(
    s, q_pos, k_pos, slope, scale, soft_cap, HAS_CAP: tl.constexpr, HAS_ALIBI: tl.constexpr
):
    """Scores in log2 units after cap · tanh(s / cap) and slope · (k_pos - q_pos)."""
    s = s * scale
    if HAS_CAP:
        # tanh(y) = 1 - 2 / (1 + e^2y), which ends at ±1 when the power overflows or vanishes
        s = soft_cap * (1.0 - 2.0 / (1.0 + tl.exp2(s * (2.0 * LOG2E / soft_cap))))
    if HAS_ALIBI:
        s += slope[:, None] * (k_pos[None, :] - q_pos[:, None]).to(tl.float32)
    return s * LOG2E


@triton.jit
def attend_tiles(
    acc, m, total, b_q, q_pos, slope, p_k, p_v, p_table, first, last, kv_len,
    stride_kn, stride_kb, stride_vn, stride_vb, scale, soft_cap, window,
    D: tl.constexpr, BLOCK_D: tl.constexpr, TILE: tl.constexpr, CACHE_BLOCK: tl.constexpr,
    PRECISION: tl.constexpr, EVICT: tl.constexpr, MASKED: tl.constexpr, IS_CAUSAL: tl.constexpr,
    HAS_WINDOW: tl.constexpr, HAS_CAP: tl.constexpr, HAS_ALIBI: tl.constexpr,
):  # fmt: skip
    """Fold tiles first … last-1 into (acc, m, total). MASKED: some query does not see some key."""
    o_n = tl.arange(0, TILE)
    o_d = tl.arange(0, BLOCK_D)
    in_d = o_d < D
    # The block id is read one tile ahead: the pipeliner would give a load that another load of the
    # same turn waits for a stage of its own, and with it one of the tile buffers.
    num_blocks = tl.cdiv(kv_len, CACHE_BLOCK)
    at = first * TILE // CACHE_BLOCK
    next_block = tl.load(p_table + at, mask=(first < last) & (at < num_blocks), other=0)
    next_second = next_block
    if TILE > CACHE_BLOCK:
        at += 1
        next_second = tl.load(p_table + at, mask=(first < last) & (at < num_blocks), other=0)
    for i in tl.range(first, last):
        row = (i * TILE) % CACHE_BLOCK + o_n
        block = next_block.to(tl.int64)
        if TILE > CACHE_BLOCK:
            row = o_n % CACHE_BLOCK
            block = tl.where(o_n < CACHE_BLOCK, next_block, next_second).to(tl.int64)
        at = (i + 1) * TILE // CACHE_BLOCK
        next_block = tl.load(p_table + at, mask=(i + 1 < last) & (at < num_blocks), other=0)
        if TILE > CACHE_BLOCK:
            at += 1
            next_second = tl.load(p_table + at, mask=(i + 1 < last) & (at < num_blocks), other=0)
        k_pos = i * TILE + o_n
        p_kt = p_k + (block * stride_kn + row * stride_kb)[None, :] + o_d[:, None]
        p_vt = p_v + (block * stride_vn + row * stride_vb)[:, None] + o_d[None, :]
        if D == BLOCK_D:
            b_k = tl.load(p_kt, eviction_policy=EVICT)
        else:
            b_k = tl.load(p_kt, mask=in_d[:, None], other=0.0, eviction_policy=EVICT)
        if MASKED:  # rows past the end may hold anything, and 0 · NaN is NaN
            real = k_pos < kv_len
            b_v = tl.load(
                p_vt, mask=real[:, None] & in_d[None, :], other=0.0, eviction_policy=EVICT
            )
        elif D == BLOCK_D:
            b_v = tl.load(p_vt, eviction_policy=EVICT)
        else:
            b_v = tl.load(p_vt, mask=in_d[None, :], other=0.0, eviction_policy=EVICT)
        s = tile_dot(b_q, b_k, PRECISION)
        c = scale * LOG2E
        if HAS_CAP or HAS_ALIBI:
            s = finish_scores(s, q_pos, k_pos, slope, scale, soft_cap, HAS_CAP, HAS_ALIBI)
            c = 1.0
        if MASKED:
            seen = (k_pos < kv_len)[None, :]
            if IS_CAUSAL:
                seen = seen & (k_pos[None, :] <= q_pos[:, None])
            if HAS_WINDOW:
                seen = seen & (k_pos[None, :] > q_pos[:, None] - window)
            s = tl.where(seen, s, float("-inf"))
        m_new = tl.maximum(m, tl.max(s, 1))
        p = tl.exp2(s * c - (m_new * c)[:, None])
        fade = tl.exp2((m - m_new) * c)
        total = total * fade + tl.sum(p, 1)
        acc = acc * fade[:, None] + tile_dot(p.to(b_v.dtype), b_v, PRECISION)
        m = m_new
    return acc, m, total


@triton.jit
def attend_span(
    b_q, q_pos, slope, q_lo, q_hi, p_k, p_v, p_table, first_token, last_token, kv_len,
    stride_kn, stride_kb, stride_vn, stride_vb, scale, soft_cap, window,
    D: tl.constexpr, BLOCK_D: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    CACHE_BLOCK: tl.constexpr, PRECISION: tl.constexpr, EVICT: tl.constexpr,
    IS_CAUSAL: tl.constexpr, HAS_WINDOW: tl.constexpr, HAS_CAP: tl.constexpr,
    HAS_ALIBI: tl.constexpr,
):  # fmt: skip
    """Attention of queries at positions q_lo … q_hi over keys first_token … last_token-1.

    Masked tiles at the window's edge, then tiles every query sees whole, then the diagonal and the
    ragged end. Returns (acc / total, log2-sum-exp): zeros and -inf for a row that saw nothing.
    """
    first = first_token // TILE
    last = tl.cdiv(last_token, TILE)
    full = kv_len // TILE  # from here on tiles are ragged
    if IS_CAUSAL:
        last = tl.minimum(last, q_hi // TILE + 1)
        full = tl.minimum(full, (q_lo + 1) // TILE)
    acc = tl.zeros([ROWS, BLOCK_D], tl.float32)
    m = tl.full([ROWS], FLOOR, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    if HAS_WINDOW:
        first = tl.maximum(first, tl.maximum(q_lo - window + 1, 0) // TILE)
        inside = tl.cdiv(tl.maximum(q_hi - window + 1, 0), TILE)
        inside = tl.minimum(tl.maximum(inside, first), tl.maximum(last, first))
        acc, m, total = attend_tiles(
            acc, m, total, b_q, q_pos, slope, p_k, p_v, p_table, first, inside, kv_len,
            stride_kn, stride_kb, stride_vn, stride_vb, scale, soft_cap, window,
            D, BLOCK_D, TILE, CACHE_BLOCK, PRECISION, EVICT, True, IS_CAUSAL,
            HAS_WINDOW, HAS_CAP, HAS_ALIBI,
        )  # fmt: skip
        first = inside
    full = tl.minimum(tl.maximum(full, first), tl.maximum(last, first))
    acc, m, total = attend_tiles(
        acc, m, total, b_q, q_pos, slope, p_k, p_v, p_table, first, full, kv_len,
        stride_kn, stride_kb, stride_vn, stride_vb, scale, soft_cap, window,
        D, BLOCK_D, TILE, CACHE_BLOCK, PRECISION, EVICT, False, IS_CAUSAL,
        HAS_WINDOW, HAS_CAP, HAS_ALIBI,
    )  # fmt: skip
    acc, m, total = attend_tiles(
        acc, m, total, b_q, q_pos, slope, p_k, p_v, p_table, full, last, kv_len,
        stride_kn, stride_kb, stride_vn, stride_vb, scale, soft_cap, window,
        D, BLOCK_D, TILE, CACHE_BLOCK, PRECISION, EVICT, True, IS_CAUSAL,
        HAS_WINDOW, HAS_CAP, HAS_ALIBI,
    )  # fmt: skip
    c = scale * LOG2E
    if HAS_CAP or HAS_ALIBI:
        c = 1.0
    saw = total > 0.0
    safe = tl.where(saw, total, 1.0)
    lse = tl.where(saw, m * c + tl.log2(safe), float("-inf"))
    return acc / safe[:, None], lse
