"""Per token: norm each head of q and k (for models with qk-norm), rotate q and k, write k and v.

qkv [T, (H+2G)·D] holds q, k, v side by side and is updated in place; cos, sin [T, D/2] float32;
slots [T] int64 = block id × B + offset. K cache [N, G, B, D] is a view whose memory is
[N, G, D, B] on a CPU (keys along the vector, see paged_attention.py); V cache [N, G, B, D].
Rotation pairs dimension i with i + D/2.
Kernel: grid (T, ceil((H+2G) / 16)), 16 heads per program; rotated k goes to the cache only (nobody
reads it from qkv again), and tokens with slot -1 (padding) write no cache. Safe in CUDA graphs.
Bound by memory: 2 · T · (H+2G) · D elements. Bench: python -m benchmarks.kernels rows
Tolerance against float64: 2e-6 relative (float32), 1e-3 (fp16), 1.6e-2 (bf16, two roundings).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.add_norm import norm_ref
from engine.kernels.attention_plan import AttentionPlan
from engine.kernels.cpu import library
from engine.kernels.gpu import ceil_div, dependent, follow, on_gpu, pad, tl, triton

HEADS_PER_PROGRAM = 16


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
    q_THD, k_TGD = qkv_THD[:, :num_q], qkv_THD[:, num_q : num_q + num_kv]
    v_TGD = qkv_THD[:, num_q + num_kv :]
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


@triton.jit
def rope_cache_kernel(
    p_qkv, p_cos, p_sin, p_k, p_v, p_slots, p_q_norm, p_k_norm,
    stride_t, stride_ct, stride_kn, stride_kg, stride_kb, stride_vn, stride_vg, stride_vb, eps,
    H: tl.constexpr, G: tl.constexpr, HALF: tl.constexpr, BLOCK_HALF: tl.constexpr,
    HEADS: tl.constexpr, CACHE_BLOCK: tl.constexpr, HAS_NORM: tl.constexpr,
    DEPENDENT: tl.constexpr,
):  # fmt: skip
    follow(DEPENDENT)
    i_t = tl.program_id(0).to(tl.int64)
    o_h = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    o_d = tl.arange(0, BLOCK_HALF)
    in_d = o_d < HALF
    real = (o_h < H + 2 * G)[:, None] & in_d[None, :]
    is_v = (o_h >= H + G)[:, None]
    p_low = p_qkv + i_t * stride_t + o_h[:, None] * (2 * HALF) + o_d[None, :]
    b_low = tl.load(p_low, mask=real, other=0.0)
    b_high = tl.load(p_low + HALF, mask=real, other=0.0)
    low = b_low.to(tl.float32)
    high = b_high.to(tl.float32)
    if HAS_NORM:
        power = (tl.sum(low * low, 1) + tl.sum(high * high, 1)) / (2 * HALF)
        scale = tl.rsqrt(power + eps)[:, None]
        is_q = (o_h < H)[:, None]
        for_q = is_q & in_d[None, :]
        for_k = (~is_q) & in_d[None, :]
        p_wq = p_q_norm + o_d[None, :] + o_h[:, None] * 0
        p_wk = p_k_norm + o_d[None, :] + o_h[:, None] * 0
        w_low = tl.load(p_wq, mask=for_q, other=0.0) + tl.load(p_wk, mask=for_k, other=0.0)
        w_high = tl.load(p_wq + HALF, mask=for_q, other=0.0)
        w_high += tl.load(p_wk + HALF, mask=for_k, other=0.0)
        low = (w_low.to(tl.float32) * (low * scale)).to(b_low.dtype).to(tl.float32)
        high = (w_high.to(tl.float32) * (high * scale)).to(b_low.dtype).to(tl.float32)
    cos = tl.load(p_cos + i_t * stride_ct + o_d, mask=in_d, other=0.0)[None, :]
    sin = tl.load(p_sin + i_t * stride_ct + o_d, mask=in_d, other=0.0)[None, :]
    turned_low = (low * cos - high * sin).to(b_low.dtype)
    turned_high = (high * cos + low * sin).to(b_low.dtype)
    to_q = (o_h < H)[:, None] & in_d[None, :]
    tl.store(p_low, turned_low, mask=to_q)
    tl.store(p_low + HALF, turned_high, mask=to_q)

    slot = tl.load(p_slots + i_t).to(tl.int64)
    block = slot // CACHE_BLOCK
    row = slot % CACHE_BLOCK
    i_kg = (o_h - H)[:, None].to(tl.int64)
    p_kt = p_k + block * stride_kn + row * stride_kb + i_kg * stride_kg + o_d[None, :]
    to_k = real & (o_h >= H)[:, None] & (~is_v) & (slot >= 0)
    tl.store(p_kt, turned_low.to(p_k.dtype.element_ty), mask=to_k)
    tl.store(p_kt + HALF, turned_high.to(p_k.dtype.element_ty), mask=to_k)
    i_vg = i_kg - G
    p_vt = p_v + block * stride_vn + row * stride_vb + i_vg * stride_vg + o_d[None, :]
    to_v = real & is_v & (slot >= 0)
    tl.store(p_vt, b_low.to(p_v.dtype.element_ty), mask=to_v)
    tl.store(p_vt + HALF, b_high.to(p_v.dtype.element_ty), mask=to_v)


def rope_cache_gpu(
    qkv: Tensor,
    cos_sin: tuple[Tensor, Tensor],
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    slots_T: Tensor,
    heads: HeadLayout,
) -> None:
    num_parts = heads.num_heads + 2 * heads.num_kv_heads
    half = heads.head_dim // 2
    rope_cache_kernel[(qkv.shape[0], ceil_div(num_parts, HEADS_PER_PROGRAM))](
        qkv, *cos_sin, k_cache_NGBD, v_cache_NGBD, slots_T, heads.q_norm_D, heads.k_norm_D,
        qkv.stride(0), cos_sin[0].stride(0), *k_cache_NGBD.stride()[:3],
        *v_cache_NGBD.stride()[:3], heads.eps,
        H=heads.num_heads, G=heads.num_kv_heads, HALF=half, BLOCK_HALF=pad(half),
        HEADS=min(HEADS_PER_PROGRAM, pad(num_parts)), CACHE_BLOCK=k_cache_NGBD.shape[2],
        HAS_NORM=heads.q_norm_D is not None, num_warps=4, **dependent(qkv),
    )  # fmt: skip


def rope_cache(
    qkv: Tensor,
    cos_sin: tuple[Tensor, Tensor],
    k_cache_NGBD: Tensor,
    v_cache_NGBD: Tensor,
    plan: AttentionPlan,
    heads: HeadLayout,
) -> None:
    """Launcher: Triton on a GPU, compiled C on a CPU that has a compiler, else the reference."""
    if on_gpu(qkv):
        rope_cache_gpu(qkv, cos_sin, k_cache_NGBD, v_cache_NGBD, plan.slots, heads)
    elif (lib := library()) is not None:
        lib.rope_cache(qkv, cos_sin, k_cache_NGBD, v_cache_NGBD, plan.slots, heads)
    else:
        rope_cache_ref(qkv, cos_sin, k_cache_NGBD, v_cache_NGBD, plan, heads)
