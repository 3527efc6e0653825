"""Prompt logprobs: rows that ask for them, and the scores of a chunk's next tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.messages import TokenLogprob
from engine.runner.batch import Batch
from engine.runner.sampler import logprob_rows
from engine.scheduler.plan import RowStart, StepPlan, StepResult

SCORE_ROWS = 256  # prompt rows whose logits exist at one time
CACHED_LOGITS = 1 << 15


class PromptScores:
    """Which rows want their prompt scored, and how many alternatives each."""

    def __init__(self, batch: Batch, logits: Callable[[Tensor], Tensor]) -> None:
        self._batch, self._logits = batch, logits
        self._counts: dict[int, int] = {}

    def start(self, start: RowStart) -> None:
        self._counts.pop(start.row, None)
        if start.params.prompt_logprobs is not None:
            self._counts[start.row] = start.params.prompt_logprobs

    def end(self, row: int) -> None:
        self._counts.pop(row, None)

    def wanted(self, plan: StepPlan) -> NDArray[np.bool_] | None:
        """Rows of the plan that compute prompt positions to score; None: no row does."""
        if not self._counts:
            return None
        asked = np.isin(plan.rows, list(self._counts))
        scoring: NDArray[np.bool_] = asked & (
            plan.positions < self._batch.prompt_len[plan.rows] - 1
        )
        return scoring if scoring.any() else None

    def score(
        self, plan: StepPlan, scoring: NDArray[np.bool_], hidden_TE: Tensor, result: StepResult
    ) -> None:
        """Fill `result.prompt_logprobs` from the hidden states of all the step's tokens."""
        ends = np.cumsum(plan.num_tokens)
        for s in np.flatnonzero(scoring).tolist():
            row, first = int(plan.rows[s]), int(plan.positions[s])
            last = min(first + int(plan.num_tokens[s]), int(self._batch.prompt_len[row]) - 1)
            offset = int(ends[s] - plan.num_tokens[s])
            hidden = hidden_TE[offset : offset + last - first]
            targets = self._batch.tokens[row, first + 1 : last + 1].tolist()
            result.prompt_logprobs[row] = self._scores(hidden, targets, self._counts[row])

    def _scores(
        self, hidden_TE: Tensor, targets: Sequence[int], count: int
    ) -> list[list[TokenLogprob]]:
        found: list[list[TokenLogprob]] = []
        for at in range(0, len(targets), SCORE_ROWS):
            logits_SV = self._logits(hidden_TE[at : at + SCORE_ROWS]).float()
            # a GPU waits for each copy to the host; a CPU is faster while rows stay in its cache
            many = SCORE_ROWS if logits_SV.is_cuda else max(1, CACHED_LOGITS // logits_SV.shape[1])
            for low in range(0, len(logits_SV), many):
                piece_SV = logits_SV[low : low + many]
                part = targets[at + low : at + low + len(piece_SV)]
                found += logprob_rows(piece_SV, part, count)
        return found
