"""Forbid all but the likeliest tokens: min-p, then top-k, then top-p, as -inf in logits [S, V].

min_p: tokens below min_p × the largest probability. top_k: all but the k largest. top_p: the
smallest set of largest probabilities, after top_k, whose sum reaches p; the token that crosses p
stays. Equal logits stay or go together. Probabilities are a softmax of the logits given; sums over
the shortlist are float64, so that its width, which the other rows decide, changes nothing.

Kernel: each rule keeps exactly the logits above some threshold, so one number per row [S] is the
whole result; the draw compares with it. The threshold is searched over the ordered bit patterns of
float32 with three probes a pass (exact, no sort): at most 17 passes per rule over one row, fewer as
soon as one token is left between the bounds. Grid (S,), rows without a filter exit. Bound by L2:
4 · V bytes a pass. Safe in CUDA graphs. Bench: python -m benchmarks.kernels sample
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.gpu import tl, triton
from engine.kernels.sample_logits import FILTERED, SampleRows

_OUT = float("-inf")
SHORTLIST = 1024  # candidates looked at before a whole vocabulary is sorted


def sample_filter(logits_SV: Tensor, top_k_S: Tensor, top_p_S: Tensor, min_p_S: Tensor) -> Tensor:
    """Filtered logits, in place. top_k ≤ 0, top_p 1 and min_p 0 leave a row as it is."""
    if bool((min_p_S > 0).any()):
        peak_S1 = logits_SV.amax(-1, keepdim=True)
        floor_S1 = peak_S1 + min_p_S.log()[:, None]  # log 0 = -inf keeps everything
        logits_SV.masked_fill_(logits_SV < floor_S1, _OUT)
    vocab = logits_SV.shape[1]
    k_S = torch.where(top_k_S > 0, top_k_S, vocab).clamp(max=vocab)
    limited_S = k_S < vocab
    if not bool((limited_S | (top_p_S < 1)).any()):
        return logits_SV
    largest = int(k_S[limited_S].max()) if bool(limited_S.any()) else 0
    count = min(vocab, max(SHORTLIST, largest))
    floor_S, short_S = _floors(logits_SV, k_S, top_p_S, count)
    for s in short_S.nonzero().flatten().tolist():  # alone: sorting all rows would be slow and big
        one = slice(s, s + 1)
        floor_S[one], _ = _floors(logits_SV[one], k_S[one], top_p_S[one], vocab)
    return logits_SV.masked_fill_(logits_SV < floor_S[:, None], _OUT)


def _floors(logits_SV: Tensor, k_S: Tensor, top_p_S: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Each row's smallest allowed logit, sought in its `count` largest ones, and whether p needs
    more of them than that."""
    top_SC = logits_SV.topk(count, dim=-1).values
    limited_S = k_S < logits_SV.shape[1]
    kth_S1 = top_SC.gather(1, (k_S.clamp(max=count) - 1)[:, None])
    keep_SC = (top_SC >= kth_S1) | ~limited_S[:, None]
    whole_S1 = torch.where(
        limited_S[:, None],
        top_SC.double().masked_fill(~keep_SC, _OUT).logsumexp(-1, keepdim=True),
        logits_SV.logsumexp(-1, keepdim=True),
    )
    before_SC = (top_SC - whole_S1).exp().masked_fill(~keep_SC, 0).cumsum(-1)
    before_SC = before_SC.roll(1, dims=-1)
    before_SC[:, 0] = 0.0  # the likeliest token always stays
    keep_SC &= (before_SC < top_p_S[:, None]) | (top_p_S >= 1)[:, None]
    last_S1 = keep_SC.sum(-1, keepdim=True) - 1  # a row keeps a leading part of its list
    floor_S = top_SC.gather(1, last_S1)[:, 0]
    free_S = ~limited_S & (top_p_S >= 1)
    short_S = keep_SC[:, -1] & ~limited_S & ~free_S & (count < logits_SV.shape[1])
    return floor_S.masked_fill(free_S, _OUT), short_S


@triton.jit
def order_key(x):
    """float32 ↔ int32 so that integers compare as the floats do (its own inverse on the bits)."""
    bits = x.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def key_value(key):
    key = key.to(tl.int32)
    return (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def row_above(p_row, V, peak, a, b, c, BLOCK_V: tl.constexpr):
    """How many logits have keys above a, b, c, and their sums of exp(x - peak)."""
    count_a = tl.zeros([BLOCK_V], tl.int32)
    count_b = tl.zeros([BLOCK_V], tl.int32)
    count_c = tl.zeros([BLOCK_V], tl.int32)
    mass_a = tl.zeros([BLOCK_V], tl.float32)
    mass_b = tl.zeros([BLOCK_V], tl.float32)
    mass_c = tl.zeros([BLOCK_V], tl.float32)
    for first in range(0, V, BLOCK_V):
        o_v = first + tl.arange(0, BLOCK_V)
        x = tl.load(p_row + o_v, mask=o_v < V, other=float("-inf"))
        key = order_key(x).to(tl.int64)
        weight = tl.exp(x - peak)
        count_a += (key > a).to(tl.int32)
        count_b += (key > b).to(tl.int32)
        count_c += (key > c).to(tl.int32)
        mass_a += tl.where(key > a, weight, 0.0)
        mass_b += tl.where(key > b, weight, 0.0)
        mass_c += tl.where(key > c, weight, 0.0)
    return (
        tl.sum(count_a, 0), tl.sum(count_b, 0), tl.sum(count_c, 0),
        tl.sum(mass_a, 0), tl.sum(mass_b, 0), tl.sum(mass_c, 0),
    )  # fmt: skip


@triton.jit
def lowest_kept(p_row, V, peak, lo, hi, inside, most, mass_limit, BLOCK_V: tl.constexpr):
    """Smallest key t in (lo, hi] with fewer than `most` logits and less than `mass_limit` above it.

    `inside` logits have keys in (lo, hi]; with one left every t up to it gives the same set.
    """
    above_hi = 0
    while (hi - lo > 1) & (inside > 1):
        span = hi - lo
        a = lo + tl.maximum(span // 4, 1)
        b = lo + tl.maximum(span // 2, 1)
        c = lo + tl.maximum(3 * span // 4, 1)
        n_a, n_b, n_c, m_a, m_b, m_c = row_above(p_row, V, peak, a, b, c, BLOCK_V)
        above_lo = above_hi + inside
        if (n_a < most) & (m_a < mass_limit):
            hi = a
            above_hi = n_a
        elif (n_b < most) & (m_b < mass_limit):
            lo = a
            hi = b
            above_lo = n_a
            above_hi = n_b
        elif (n_c < most) & (m_c < mass_limit):
            lo = b
            hi = c
            above_lo = n_b
            above_hi = n_c
        else:
            lo = c
            above_lo = n_c
        inside = above_lo - above_hi
    return tl.where(inside > 1, hi, lo + 1)


@triton.jit
def sample_threshold_kernel(
    p_threshold, p_logits, p_flags, p_top_k, p_top_p, p_min_p, V, FILTERED: tl.constexpr,
    BLOCK_V: tl.constexpr,
):  # fmt: skip
    i_s = tl.program_id(0)
    tl.store(p_threshold + i_s, float("-inf"))
    if (tl.load(p_flags + i_s) & FILTERED) == 0:
        return
    p_row = p_logits + i_s.to(tl.int64) * V
    top_k = tl.load(p_top_k + i_s)
    top_p = tl.load(p_top_p + i_s)
    min_p = tl.load(p_min_p + i_s)
    high = tl.full([BLOCK_V], float("-inf"), tl.float32)
    low = tl.full([BLOCK_V], float("inf"), tl.float32)
    for first in range(0, V, BLOCK_V):
        o_v = first + tl.arange(0, BLOCK_V)
        x = tl.load(p_row + o_v, mask=o_v < V, other=float("-inf"))
        high = tl.maximum(high, x)
        low = tl.minimum(low, tl.where(x > float("-inf"), x, float("inf")))
    peak = tl.max(high, 0)
    if peak == float("-inf"):  # nothing is allowed: the draw reports it
        return
    floor = tl.min(low, 0)
    if min_p > 0.0:
        floor = tl.maximum(floor, peak + tl.log(min_p))
    hi = order_key(peak).to(tl.int64)
    lo = tl.minimum(order_key(floor).to(tl.int64) - 1, hi - 1)
    inside, _, _, whole, _, _ = row_above(p_row, V, peak, lo, hi, hi, BLOCK_V)
    if (top_k > 0) & (top_k < inside):
        lo = lowest_kept(p_row, V, peak, lo, hi, inside, top_k, float("inf"), BLOCK_V) - 1
        inside, _, _, whole, _, _ = row_above(p_row, V, peak, lo, hi, hi, BLOCK_V)
    if top_p < 1.0:
        lo = lowest_kept(p_row, V, peak, lo, hi, inside, V + 1, top_p * whole, BLOCK_V) - 1
    tl.store(p_threshold + i_s, key_value(lo + 1))


def sample_threshold_gpu(threshold_S: Tensor, adjusted_SV: Tensor, rows: SampleRows) -> None:
    """Fill `threshold_S`: logits below it are out; -inf for rows without a filter."""
    num_rows, vocab = adjusted_SV.shape
    sample_threshold_kernel[(num_rows,)](
        threshold_S, adjusted_SV, rows.flags, rows.top_k, rows.top_p, rows.min_p, vocab,
        FILTERED=FILTERED, BLOCK_V=4096, num_warps=16,
    )  # fmt: skip
