"""Attention over the block table: decode rows and prompt chunks in one call.

q [T, H, D] rows of the flat batch (any row stride), K and V cache [N, G, B, D], block table [S, M].
The query at position p of sequence s sees keys max(0, p-window+1) … p of its blocks (window 0: all;
not causal: keys up to the sequence's end). out [T, H·D] = softmax(score(q·k · scale)) · v, float32
sums; score(x) = soft_cap · tanh(x / soft_cap) where a cap is set, plus slopes[h] · (key - query
position) with ALiBi. Rows of tokens that belong to no sequence are left undefined. A row's result
does not depend on how its prompt was cut into chunks or on the other rows (on a GPU its rounding
may: spans follow the batch). Tolerance against float64: 5e-6 absolute for
unit-variance inputs. On a CPU the K cache is a view of memory [N, G, D, B], so that sixteen keys
fill a vector and no sum runs across lanes. On a GPU: decode_attention.py, prefill_attention.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.attention_plan import AttentionPlan, make_work, plan_attention
from engine.kernels.cpu import library
from engine.kernels.decode_attention import decode_attention
from engine.kernels.gpu import on_gpu
from engine.kernels.prefill_attention import prefill_attention


def paged_attention_ref(
    q_THD: Tensor,
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    scale: float,
    window: int,
    *,
    soft_cap: float = 0.0,
    slopes_H: Tensor | None = None,
    causal: bool = True,
) -> Tensor:
    num_tokens, num_heads, dim = q_THD.shape
    groups = num_heads // k_cache_NGBD.shape[1]
    out_THD = torch.empty(num_tokens, num_heads, dim, dtype=q_THD.dtype)
    slopes = None if slopes_H is None else slopes_H[:, None, None]
    starts, lengths = plan.q_start.tolist(), plan.seq_len.tolist()
    for s, length in enumerate(lengths):
        rows = slice(starts[s], starts[s + 1])
        table_M = plan.block_table[s]
        k_HCD = _gather(k_cache_NGBD, table_M, length).repeat_interleave(groups, 0)
        v_HCD = _gather(v_cache_NGBD, table_M, length).repeat_interleave(groups, 0)
        q_pos = torch.arange(length - (rows.stop - rows.start), length)
        k_pos = torch.arange(length)
        mask = visible(q_pos, k_pos, window, causal)
        q_HTD = wide(q_THD[rows]).transpose(0, 1) * scale
        scores = q_HTD @ k_HCD.transpose(1, 2)
        if soft_cap:
            scores = soft_cap * torch.tanh(scores / soft_cap)
        if slopes is not None:
            scores = scores + slopes * (k_pos[None, :] - q_pos[:, None])
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        out_THD[rows] = (weights @ v_HCD).transpose(0, 1).to(q_THD.dtype)
    return out_THD.view(num_tokens, num_heads * dim)


def visible(q_pos: Tensor, k_pos: Tensor, window: int, causal: bool = True) -> Tensor:
    """[Tq, Tk] bool: nothing ahead if causal, and at most `window` keys back when it is not 0."""
    near = q_pos[:, None] - k_pos[None, :]
    seen = near >= 0 if causal else torch.ones_like(near, dtype=torch.bool)
    return seen & (near < window) if window else seen


def wide(x: Tensor) -> Tensor:
    """At least float32; float64 stays, so that tests may ask for it."""
    return x if x.dtype == torch.float64 else x.float()


def _gather(cache_NGBD: Tensor, table_M: Tensor, length: int) -> Tensor:
    """The first `length` tokens of a sequence as [G, length, D], widened."""
    size = cache_NGBD.shape[2]
    blocks = cache_NGBD[table_M[: -(-length // size)].long()]
    return wide(blocks.transpose(0, 1).flatten(1, 2)[:, :length])


def paged_attention(
    q_THD: Tensor,
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    scale: float,
    window: int,
    *,
    soft_cap: float = 0.0,
    slopes_H: Tensor | None = None,
    causal: bool = True,
) -> Tensor:
    """Launcher: Triton on a GPU, compiled C on a CPU that has a compiler, else the reference."""
    if on_gpu(q_THD):
        return _paged_attention_gpu(
            q_THD, k_cache_NGBD, v_cache_NGBD, plan, scale, window, soft_cap, slopes_H, causal
        )
    plain = not soft_cap and slopes_H is None and causal
    lib = library() if plain else None
    if lib is not None and lib.can_attend(k_cache_NGBD):
        return lib.paged_attention(q_THD, k_cache_NGBD, v_cache_NGBD, plan, scale, window)
    return paged_attention_ref(
        q_THD, k_cache_NGBD, v_cache_NGBD, plan, scale, window,
        soft_cap=soft_cap, slopes_H=slopes_H, causal=causal,
    )  # fmt: skip


def _paged_attention_gpu(
    q_THD: Tensor,
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    scale: float,
    window: int,
    soft_cap: float,
    slopes_H: Tensor | None,
    causal: bool,
) -> Tensor:
    """Two launches, one when the plan only decodes. Work items are made at a step's first layer
    unless the runner has planned into buffers of its own (a captured graph must)."""
    num_tokens, num_heads, dim = q_THD.shape
    if plan.work is None:
        work = make_work(
            num_seqs=plan.seq_len.shape[0],
            num_tokens=num_tokens,
            num_heads=num_heads,
            num_kv_heads=k_cache_NGBD.shape[1],
            head_dim=dim,
            dtype=q_THD.dtype,
            device=q_THD.device,
        )
        plan_attention(work, plan)
    else:
        work = plan.work
    out_THD = q_THD.new_empty(num_tokens, num_heads, dim)
    launchers = [decode_attention]
    if work.prefill_items.shape[0] and plan.num_decodes < plan.seq_len.shape[0]:
        launchers.append(prefill_attention)
    for launch in launchers:
        launch(
            out_THD, q_THD, k_cache_NGBD, v_cache_NGBD, plan.block_table, work, scale,
            window=window, soft_cap=soft_cap, slopes_H=slopes_H, causal=causal,
        )  # fmt: skip
    return out_THD.view(num_tokens, num_heads * dim)
