"""Logits → tokens and logprobs, row by row as each request asked.

All-greedy steps are one argmax. Everything else is done only for the rows that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import InternalError, InvalidRequest, PagodaError
from engine.kernels.sample_filter import sample_filter
from engine.kernels.sample_greedy import sample_greedy
from engine.kernels.sample_gumbel import EMPTY_ROW, NAN_ROW, sample_gumbel
from engine.messages import TokenLogprob
from engine.runner.constraints import Constraints, Encode, needs_constraints
from engine.runner.grammar_rows import GrammarRows
from engine.sampling_params import SamplingParams
from engine.scheduler.plan import RowStart

_SEED_MASK = 2**64 - 1


@dataclass(slots=True)
class Sampled:
    """Results by index into the sampled rows."""

    token_ids: NDArray[np.int64]  # -1 where the row failed
    logprobs: dict[int, list[TokenLogprob]] = field(default_factory=dict)
    failed: dict[int, PagodaError] = field(default_factory=dict)


class Sampler:
    """Sampling settings of every row, and the draw itself."""

    def __init__(self, rows: int, vocab_size: int, encode: Encode | None = None) -> None:
        self._vocab_size, self._encode = vocab_size, encode
        self._temperature = np.zeros(rows, np.float32)  # 0: greedy
        self._top_k = np.full(rows, -1, np.int64)
        self._top_p = np.ones(rows, np.float32)
        self._min_p = np.zeros(rows, np.float32)
        self._seed = np.zeros(rows, np.uint64)
        self._filters = np.zeros(rows, np.bool_)
        self._constraints: dict[int, Constraints] = {}
        self._scored: dict[int, SamplingParams] = {}
        self.grammars = GrammarRows(rows, vocab_size)

    def start(self, start: RowStart) -> None:
        row, params = start.row, start.params
        self.end(row)
        self._temperature[row] = 0.0 if params.greedy else params.temperature
        self._top_k[row] = min(params.top_k, self._vocab_size)
        self._top_p[row], self._min_p[row] = params.top_p, params.min_p
        self._filters[row] = params.top_k > 0 or params.top_p < 1.0 or params.min_p > 0.0
        self._seed[row] = start.seed & _SEED_MASK
        if needs_constraints(params):
            self._constraints[row] = Constraints(start, self._vocab_size, self._encode)
        if params.scored:
            self._scored[row] = params
        self.grammars.start(start)

    def end(self, row: int) -> None:
        self._constraints.pop(row, None)
        self._scored.pop(row, None)
        self.grammars.end(row)

    def sample(
        self, logits_SV: Tensor, rows: NDArray[np.int32], positions: NDArray[np.int64]
    ) -> Sampled:
        """Draw the token at `positions` for each of `rows`. Changes `logits_SV`."""
        raw = self._keep_raw(logits_SV, rows)
        failed = self.grammars.apply(logits_SV, rows)
        self._constrain(logits_SV, rows, failed)
        temperature = self._temperature[rows]
        drawn = np.flatnonzero(temperature)
        token_ids = sample_greedy(logits_SV).numpy()
        for i in np.flatnonzero(token_ids < 0).tolist():
            failed.setdefault(i, draw_error(NAN_ROW))
        if len(drawn):
            token_ids[drawn] = self._draw(logits_SV, rows, positions, drawn)
        for i in failed:
            token_ids[i] = -1
        self._remember(rows, token_ids)
        found = {
            i: token_logprobs(raw[i], int(token_ids[i]), self._scored[int(rows[i])])
            for i in raw
            if token_ids[i] >= 0
        }
        return Sampled(token_ids, found, failed)

    def _draw(
        self,
        logits_SV: Tensor,
        rows: NDArray[np.int32],
        positions: NDArray[np.int64],
        drawn: NDArray[np.intp],
    ) -> NDArray[np.int64]:
        picked = rows[drawn]
        scaled = logits_SV if len(drawn) == len(rows) else logits_SV[torch.from_numpy(drawn)]
        scaled = scaled / torch.from_numpy(self._temperature[picked])[:, None]
        where = np.flatnonzero(self._filters[picked])
        if len(where):
            owners, at = picked[where], torch.from_numpy(where)
            scaled[at] = sample_filter(
                scaled[at],
                torch.from_numpy(self._top_k[owners]),
                torch.from_numpy(self._top_p[owners]),
                torch.from_numpy(self._min_p[owners]),
            )
        tokens: NDArray[np.int64] = sample_gumbel(
            scaled, self._seed[picked], positions[drawn]
        ).numpy()
        return tokens

    def _keep_raw(self, logits_SV: Tensor, rows: NDArray[np.int32]) -> dict[int, Tensor]:
        """Untouched logits of the rows that want logprobs, by index."""
        if not self._scored:
            return {}
        return {
            i: logits_SV[i].clone()
            if row in self._constraints or row in self.grammars
            else logits_SV[i]
            for i, row in enumerate(rows.tolist())
            if row in self._scored
        }

    def _constrain(
        self, logits_SV: Tensor, rows: NDArray[np.int32], failed: dict[int, PagodaError]
    ) -> None:
        if not self._constraints:
            return
        for i, row in enumerate(rows.tolist()):
            if (constraints := self._constraints.get(row)) is None:
                continue
            logits_V = logits_SV[i].numpy()
            constraints.apply(logits_V)
            if logits_V.max() == -np.inf and i not in failed:
                failed[i] = draw_error(EMPTY_ROW)

    def _remember(self, rows: NDArray[np.int32], token_ids: NDArray[np.int64]) -> None:
        self.grammars.accept(rows, token_ids)
        if not self._constraints:
            return
        for i, row in enumerate(rows.tolist()):
            if (constraints := self._constraints.get(row)) is not None and token_ids[i] >= 0:
                constraints.add(int(token_ids[i]))


def token_logprobs(logits_V: Tensor, chosen: int, params: SamplingParams) -> list[TokenLogprob]:
    """The chosen token, then those that the request names or the likeliest."""
    found = logprob_rows(logits_V[None], [chosen], params.logprobs or 0)[0]
    if (ids := params.logprob_token_ids) is None:
        return found
    scores = (logits_V[ids] - logits_V.logsumexp(-1)).tolist()
    return chosen_and_named(found[0], ids, scores)


def logprob_rows(logits_SV: Tensor, chosen: Sequence[int], count: int) -> list[list[TokenLogprob]]:
    """Of each row the chosen token, then the `count` likeliest (the chosen one not twice), in a
    few operations and copies to the host for all of them."""
    scores_SV = logits_SV.log_softmax(-1)
    ids_S1 = torch.tensor(chosen, device=scores_SV.device)[:, None]
    mine_S1 = scores_SV.gather(1, ids_S1)
    ranks_S = (scores_SV > mine_S1).sum(1) + 1
    top = scores_SV.topk(min(count, scores_SV.shape[1]))
    rows = zip(
        chosen, mine_S1[:, 0].tolist(), ranks_S.tolist(), top.indices.tolist(), top.values.tolist(),
        strict=True,
    )  # fmt: skip
    return [
        chosen_first(TokenLogprob(token, score, rank), ids, scores)
        for token, score, rank, ids, scores in rows
    ]


def chosen_first(chosen: TokenLogprob, ids: list[int], scores: list[float]) -> list[TokenLogprob]:
    """The chosen token, then the likeliest in their order, the chosen one not twice."""
    pairs = enumerate(zip(ids, scores, strict=True), 1)
    others = [TokenLogprob(token, score, place) for place, (token, score) in pairs]
    return [chosen, *(other for other in others if other.token_id != chosen.token_id)]


def chosen_and_named(
    chosen: TokenLogprob, ids: list[int], scores: list[float]
) -> list[TokenLogprob]:
    """The chosen token, then the other `ids`, which nobody has ranked."""
    pairs = zip(ids, scores, strict=True)
    return [chosen, *(TokenLogprob(i, score, 0) for i, score in pairs if i != chosen.token_id)]


def draw_error(code: int) -> PagodaError:
    """What a negative token says of its row."""
    if code == EMPTY_ROW:
        return InvalidRequest(
            "The request's allowed_token_ids, bad_words, min_tokens and grammar leave no "
            "token that may come next; relax one of them."
        )
    return InternalError("The model computed a value that is no number.")
