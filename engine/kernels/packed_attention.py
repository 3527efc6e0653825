"""Attention of encoders: every token of a sequence sees every other one, and no cache is kept.

qkv [T, 3·H·D] float32 (q, k, v side by side), q_start [S+1] int32; sequence s owns rows
q_start[s] … q_start[s+1] - 1. out [T, H·D] = softmax(q·k · scale) · v within each sequence; with a
window w the query at i sees keys i - w … i + w (0: all). A row does not depend on what else is in
the batch, and no padding is computed. CPU: one work item per sequence and head, K transposed
once, tiles of eight queries. Tolerance against float64: 5e-6 absolute for unit-variance inputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.cpu.bindings import LANES


def packed_attention_ref(
    qkv_TE: Tensor, q_start: Tensor, num_heads: int, window: int, scale: float
) -> Tensor:
    width = qkv_TE.shape[1] // 3
    parts = []
    for qkv in torch.tensor_split(qkv_TE, q_start[1:-1].long()):
        q, k, v = qkv.view(len(qkv), 3, num_heads, width // num_heads).permute(1, 2, 0, 3)
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=_near(len(qkv), window), scale=scale
        )
        parts.append(out.transpose(0, 1).reshape(len(qkv), width))
    return torch.cat(parts)


def _near(tokens: int, window: int) -> Tensor | None:
    """[L, L] bool: pairs at most `window` apart."""
    if not window:
        return None
    at = torch.arange(tokens)
    return (at[:, None] - at[None, :]).abs() <= window


def packed_attention(
    qkv_TE: Tensor, q_start: Tensor, num_heads: int, window: int, scale: float,
    out_TE: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Launcher: compiled C where a head fills whole vectors (into `out_TE`), else the reference."""
    fits = qkv_TE.shape[1] // 3 // num_heads % LANES == 0
    if fits and (lib := library()) is not None:
        return lib.packed_attention(qkv_TE, q_start, num_heads, window, scale, out_TE)
    return packed_attention_ref(qkv_TE, q_start, num_heads, window, scale)
