"""Where each token of a step's flat batch comes from and goes to, as attention ops read it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(slots=True, kw_only=True)
class AttentionPlan:
    """Sequence s owns tokens q_start[s] … q_start[s+1] - 1, the last ones of its seq_len[s]."""

    q_start: Tensor  # [S+1] int32
    seq_len: Tensor  # [S] int32, tokens with KV after this step
    block_table: Tensor  # [S, M] int32
    positions: Tensor  # [T] int64
    slots: Tensor  # [T] int64: block id × block size + offset, where the token's KV goes
    num_decodes: int  # leading sequences with one token
