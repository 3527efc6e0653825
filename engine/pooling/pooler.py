"""Hidden states of whole prompts → answers. Rows do not depend on what else is in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.pooling.card import PoolingCard
from engine.pooling.heads import Layer
from engine.pooling.params import PoolingParams, PoolingTask

TINY = 1e-12  # a vector this short stays as it is


@dataclass(slots=True)
class Pooler:
    """`layers`: the class head, or the Dense modules of an embedder."""

    card: PoolingCard
    layers: tuple[Layer, ...]

    def __call__(self, hidden_LE: Tensor, params: PoolingParams) -> Tensor:
        """The answer for one prompt of L tokens: [D] or, per token, [L, D]. float32."""
        if params.task is PoolingTask.TOKEN_EMBED:
            return self._embedding(hidden_LE, params)
        if params.task is PoolingTask.TOKEN_CLASSIFY:
            return self._scores(hidden_LE, params)
        pooled_1E = self.pool(hidden_LE)
        if params.task is PoolingTask.CLASSIFY:
            return self._scores(pooled_1E, params)[0]
        for layer in self.layers:
            pooled_1E = layer(pooled_1E)
        return self._embedding(pooled_1E, params)[0]

    def pool(self, hidden_LE: Tensor) -> Tensor:
        """[1, E]."""
        if self.card.pooling == "mean":
            return hidden_LE.mean(0, keepdim=True)
        return hidden_LE[:1] if self.card.pooling == "cls" else hidden_LE[-1:]

    def _embedding(self, x: Tensor, params: PoolingParams) -> Tensor:
        kept = x[:, : params.dimensions]
        wanted = self.card.normalize if params.activate is None else params.activate
        return F.normalize(kept, dim=-1, eps=TINY) if wanted else kept

    def _scores(self, x: Tensor, params: PoolingParams) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        if params.activate is False or self.card.activation == "identity":
            return x
        return torch.sigmoid(x) if self.card.activation == "sigmoid" else x.softmax(-1)
