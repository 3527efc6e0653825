"""The whole sampler on a GPU: logits [S, V] → tokens [S], and logprobs where they are asked.

Adjust → threshold → draw, three launches; a step without constraints and filters only draws.
Nothing is read by the host, so a graph may hold any of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.sample_filter import sample_threshold_gpu
from engine.kernels.sample_gumbel import DrawBuffers, sample_draw_gpu
from engine.kernels.sample_logits import SampleRows, adjust_logits_gpu


def sample_step(
    token_S: Tensor, logits_SV: Tensor, rows: SampleRows, buffers: DrawBuffers, plain: bool = False
) -> None:
    """Fill `token_S` (-1: NaN in the row, -2: nothing allowed). `plain`: all flags are 0."""
    if not plain:
        num_rows = logits_SV.shape[0]
        adjust_logits_gpu(buffers.adjusted, logits_SV, rows)
        sample_threshold_gpu(buffers.threshold, buffers.adjusted[:num_rows], rows)
    sample_draw_gpu(token_S, logits_SV, rows, buffers)


def token_logprobs(
    logits_SV: Tensor, token_S: Tensor, count: int, named_SK: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Raw log-softmax: (chosen [S], its rank from 1 [S], top values [S, count], top ids, values of
    `named_SK` [S, K]).

    A few torch calls over the rows that asked; no host sync.
    """
    wide_SV = logits_SV.float()
    norm_S1 = wide_SV.logsumexp(-1, keepdim=True)
    chosen_S1 = wide_SV.gather(1, token_S.clamp(min=0)[:, None])
    rank_S = (wide_SV > chosen_S1).sum(-1) + 1
    top = torch.topk(wide_SV, count, dim=-1)
    named_value_SK = wide_SV.gather(1, named_SK) - norm_S1
    return (chosen_S1 - norm_S1)[:, 0], rank_S, top.values - norm_S1, top.indices, named_value_SK
