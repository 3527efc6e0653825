"""x[t] = embed[id of token t], where an id may still be on the device only.

ids [T] int32 or int64: the token's id, or -1 - row for the last token sampled in that row of
`last` [rows + 1] int64, which no host has seen yet. Ids below 0 there (a row that failed) read
row 0. embed [V, E] → [T, E], in the type of embed on a GPU, float32 on a CPU.
Kernel: grid (T, ceil(E / 1024)). Bound by memory: 2 · T · E elements. Exact. Safe in CUDA graphs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.gpu import ceil_div, dependent, follow, on_gpu, tl, triton

BLOCK = 1024


def embed_tokens_ref(ids_T: Tensor, last: Tensor | None, embed_VE: Tensor) -> Tensor:
    if last is not None:
        sampled_T = last[(-1 - ids_T).clamp(min=0).long()].clamp(min=0)
        ids_T = torch.where(ids_T < 0, sampled_T, ids_T.long())
    return F.embedding(ids_T, embed_VE)


@triton.jit
def embed_tokens_kernel(
    p_out, p_ids, p_last, p_embed, E, BLOCK_E: tl.constexpr, DEPENDENT: tl.constexpr
):  # fmt: skip
    follow(DEPENDENT)
    i_t = tl.program_id(0).to(tl.int64)
    token = tl.load(p_ids + i_t).to(tl.int64)
    if token < 0:
        token = tl.maximum(tl.load(p_last - 1 - token), 0)
    o_e = tl.program_id(1) * BLOCK_E + tl.arange(0, BLOCK_E)
    in_e = o_e < E
    b_row = tl.load(p_embed + token * E + o_e, mask=in_e, other=0.0)
    tl.store(p_out + i_t * E + o_e, b_row, mask=in_e)


def embed_tokens_gpu(ids_T: Tensor, last: Tensor, embed_VE: Tensor) -> Tensor:
    num_tokens, width = ids_T.shape[0], embed_VE.shape[1]
    out_TE = embed_VE.new_empty(num_tokens, width)
    embed_tokens_kernel[(num_tokens, ceil_div(width, BLOCK))](
        out_TE, ids_T, last, embed_VE, width, BLOCK_E=BLOCK, num_warps=4, **dependent(embed_VE)
    )
    return out_TE


def embed_tokens(ids_T: Tensor, last: Tensor | None, embed_VE: Tensor) -> Tensor:
    """Launcher: Triton on a GPU, else the reference in float32."""
    if last is not None and on_gpu(embed_VE):
        return embed_tokens_gpu(ids_T, last, embed_VE)
    return embed_tokens_ref(ids_T, last, embed_VE).float()
