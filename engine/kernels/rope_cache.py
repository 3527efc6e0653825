"""Per token: norm each head of q and k (where the model has qk-norm), rotate q and k, write k and v.

qkv [T, (H+2G)·D] holds q, k, v side by side and is updated in place; cos, sin [T, D/2] float32;
slots [T] int64 = block id × B + offset. K cache [N, G, B, D] is a view whose memory is
[N, G, D, B] on a CPU (keys along the vector, see paged_attention.py); V cache [N, G, B, D].
Rotation pairs dimension i with i + D/2. Tolerance against float64: 2e-6 relative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.add_norm import norm_ref
from engine.kernels.attention_plan import AttentionPlan
from engine.kernels.cpu import library


@dataclass(slots=True, kw_only=True)
class HeadLayout:
    """How a token's q, k, v divide into heads, and the norms they pass."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    q_norm_D: Tensor | None = None
    k_norm_D: Tensor | None = None
    eps: float = 1e-6


def rope_cache_ref(
    qkv: Tensor,
    cos_sin: tuple[Tensor, Tensor],
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    heads: HeadLayout,
) -> None:
    num_q, num_kv, dim = heads.num_heads, heads.num_kv_heads, heads.head_dim
    qkv_THD = qkv.view(qkv.shape[0], num_q + 2 * num_kv, dim)
    q_THD, k_TGD, v_TGD = qkv_THD.split([num_q, num_kv, num_kv], dim=1)
    if heads.q_norm_D is not None and heads.k_norm_D is not None:
        q_THD.copy_(norm_ref(q_THD, heads.q_norm_D, heads.eps))
        k_TGD.copy_(norm_ref(k_TGD, heads.k_norm_D, heads.eps))
    for part in (q_THD, k_TGD):
        part.copy_(rotate_ref(part, *cos_sin))
    size = k_cache_NGBD.shape[2]
    block_T, offset_T = plan.slots // size, plan.slots % size
    k_cache_NGBD[block_T, :, offset_T] = k_TGD.to(k_cache_NGBD.dtype)
    v_cache_NGBD[block_T, :, offset_T] = v_TGD.to(v_cache_NGBD.dtype)


def rotate_ref(x_THD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """x · cos + rotate_half(x) · sin over the last dimension; cos and sin hold half of it."""
    low, high = x_THD.chunk(2, dim=-1)
    cos, sin = cos_TD[:, None], sin_TD[:, None]
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


def rope_cache(
    qkv: Tensor,
    cos_sin: tuple[Tensor, Tensor],
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    heads: HeadLayout,
) -> None:
    """Launcher: compiled C on a CPU that has a compiler, else the reference."""
    if qkv.device.type == "cpu" and (lib := library()) is not None:
        lib.rope_cache(qkv, cos_sin, k_cache_NGBD, v_cache_NGBD, plan.slots, heads)
    else:
        rope_cache_ref(qkv, cos_sin, k_cache_NGBD, v_cache_NGBD, plan, heads)
