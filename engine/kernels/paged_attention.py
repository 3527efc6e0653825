"""Causal attention over the block table: decode rows and prompt chunks in one call.

q [T, H, D] rows of the flat batch (any row stride), K and V cache [N, G, B, D], block table [S, M].
The query at position p of sequence s sees keys max(0, p-window+1) … p of its blocks (window 0: all).
out [T, H·D] = softmax(q·k · scale) · v, float32 sums. A row's result does not depend on how its
prompt was cut into chunks or on the other rows. Tolerance against float64: 5e-6 absolute for
unit-variance inputs. On a CPU the K cache is a view of memory [N, G, D, B], so that sixteen keys
fill a vector and no sum runs across lanes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.attention_plan import AttentionPlan
from engine.kernels.cpu import library


def paged_attention_ref(
    q_THD: Tensor,
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    scale: float,
    window: int,
) -> Tensor:
    num_tokens, num_heads, dim = q_THD.shape
    groups = num_heads // k_cache_NGBD.shape[1]
    out_THD = torch.empty(num_tokens, num_heads, dim, dtype=q_THD.dtype)
    starts, lengths = plan.q_start.tolist(), plan.seq_len.tolist()
    for s, length in enumerate(lengths):
        rows = slice(starts[s], starts[s + 1])
        k_GCD = _gather(k_cache_NGBD, plan.block_table[s], length)
        v_GCD = _gather(v_cache_NGBD, plan.block_table[s], length)
        q_pos = torch.arange(length - (rows.stop - rows.start), length)
        mask = visible(q_pos, torch.arange(length), window)
        q_HTD = q_THD[rows].float().transpose(0, 1) * scale
        scores = q_HTD @ k_GCD.repeat_interleave(groups, 0).transpose(1, 2)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        out_THD[rows] = (weights @ v_GCD.repeat_interleave(groups, 0)).transpose(0, 1).to(q_THD.dtype)
    return out_THD.view(num_tokens, num_heads * dim)


def visible(q_pos: Tensor, k_pos: Tensor, window: int) -> Tensor:
    """[Tq, Tk] bool: causal, and at most `window` keys back when it is not 0."""
    near = q_pos[:, None] - k_pos[None, :]
    return (near >= 0) & (near < window) if window else near >= 0


def _gather(cache_NGBD: Tensor, table_M: Tensor, length: int) -> Tensor:
    """The first `length` tokens of a sequence as [G, length, D] float32."""
    size = cache_NGBD.shape[2]
    blocks = cache_NGBD[table_M[: -(-length // size)].long()]
    return blocks.transpose(0, 1).flatten(1, 2)[:, :length].float()


def paged_attention(
    q_THD: Tensor,
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    scale: float,
    window: int,
) -> Tensor:
    """Launcher: compiled C on a CPU that has a compiler, else the reference."""
    lib = library() if q_THD.device.type == "cpu" else None
    if lib is not None and lib.can_attend(k_cache_NGBD):
        return lib.paged_attention(q_THD, k_cache_NGBD, v_cache_NGBD, plan, scale, window)
    return paged_attention_ref(q_THD, k_cache_NGBD, v_cache_NGBD, plan, scale, window)
