"""Executes step plans on one device: batch changes, forward pass, sampling, feedback of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import InvalidRequest
from engine.logs import event_log
from engine.lora.bank import SlotBank
from engine.messages import TokenLogprob
from engine.models.decoder import Decoder, KVCache
from engine.runner.batch import Batch, BatchShape
from engine.runner.constraints import Encode
from engine.runner.sampler import Sampler, top_logprobs
from engine.scheduler.plan import PendingStep, StepPlan, StepResult

SCORE_ROWS = 256  # prompt rows whose logits exist at one time

log = event_log(__name__)


@dataclass(slots=True)
class DoneStep:
    """A step that has already run: a CPU has nothing to overlap with."""

    result: StepResult

    def wait(self) -> StepResult:
        return self.result


class ModelRunner:
    """The `Runner` of scheduler/plan.py. Rows and blocks are the scheduler's to give."""

    overlap = False

    def __init__(
        self,
        model: Decoder,
        cache: KVCache,
        *,
        max_num_seqs: int,
        max_model_len: int,
        encode: Encode | None = None,
        bank: SlotBank | None = None,
    ) -> None:
        self._model, self._cache, self._bank = model, cache, bank
        self.num_blocks, self.block_size = cache.keys[0].shape[0], cache.keys[0].shape[2]
        self.max_model_len, self.vocab_size = max_model_len, model.spec.vocab_size
        shape = BatchShape(rows=max_num_seqs, max_len=max_model_len, block_size=self.block_size)
        self._batch = Batch(shape, dynamic_rope=model.rotary.dynamic)
        self._sampler = Sampler(max_num_seqs, self.vocab_size, encode)
        self._num_scores: dict[int, int] = {}  # rows that want prompt_logprobs

    @torch.inference_mode()
    def launch(self, plan: StepPlan) -> PendingStep:
        result = StepResult(step=plan.step, token_ids=np.full(len(plan.rows), -1, np.int64))
        if plan.kv_memory is not None:
            self._cache.set_held(plan.kv_memory)
        if plan.slot_changes and self._bank is not None:
            self._bank.change(plan.slot_changes)
        self._apply(plan, result)
        if not len(plan.rows):
            return DoneStep(result)
        scoring = self._scoring(plan)
        step = self._batch.step_input(plan, scoring)
        if plan.slots is not None and self._bank is not None:
            step.lora = self._bank.step(plan.slots, plan.num_tokens, step.out_rows)
        self._sampler.grammars.prepare(plan.rows[plan.samples])
        hidden = self._model.forward(step, self._cache)
        if scoring is not None and scoring.any():
            self._score(plan, scoring, hidden, result)
            last = np.cumsum(plan.num_tokens)[plan.samples] - 1
            hidden = hidden[torch.from_numpy(last)]
        if hidden.shape[0]:
            self._sample(plan, hidden, result)
        return DoneStep(result)

    def close(self) -> None:
        self._sampler.grammars.close()
        self._cache = KVCache([], [])

    def _apply(self, plan: StepPlan, result: StepResult) -> None:
        """Batch changes of the plan, in its order: ends, copies, starts, new blocks."""
        for row in plan.ends:
            self._sampler.end(row)
            self._num_scores.pop(row, None)
        if plan.copies:
            copy_blocks(self._cache, plan.copies)
        for start in plan.starts:
            self._batch.start(start)
            try:
                self._sampler.start(start)
            except Exception:  # its bad_words, say, are no text for the tokenizer
                log.exception("row_not_started", rid=start.request_id)
                result.failed[start.row] = InvalidRequest(
                    "The request's sampling fields cannot be used with this model."
                )
            self._num_scores.pop(start.row, None)
            if start.params.prompt_logprobs is not None:
                self._num_scores[start.row] = start.params.prompt_logprobs
        for row, _, blocks in plan.new_blocks:
            self._batch.add_blocks(row, blocks)

    def _scoring(self, plan: StepPlan) -> NDArray[np.bool_] | None:
        """Which rows compute prompt positions whose logprobs are wanted."""
        if not self._num_scores:
            return None
        wanted = np.isin(plan.rows, list(self._num_scores))
        scoring: NDArray[np.bool_] = wanted & (
            plan.positions < self._batch.prompt_len[plan.rows] - 1
        )
        return scoring

    def _sample(self, plan: StepPlan, hidden_SE: Tensor, result: StepResult) -> None:
        rows = plan.rows[plan.samples]
        places = (plan.positions + plan.num_tokens)[plan.samples].astype(np.int64)
        sampled = self._sampler.sample(self._model.logits(hidden_SE), rows, places)
        result.token_ids[plan.samples] = sampled.token_ids
        good = sampled.token_ids >= 0
        self._batch.tokens[rows[good], places[good]] = sampled.token_ids[good]
        result.logprobs = {int(rows[i]): found for i, found in sampled.logprobs.items()}
        result.failed |= {int(rows[i]): error for i, error in sampled.failed.items()}

    def _score(
        self, plan: StepPlan, scoring: NDArray[np.bool_], hidden_TE: Tensor, result: StepResult
    ) -> None:
        ends = np.cumsum(plan.num_tokens)
        for s in np.flatnonzero(scoring).tolist():
            row, first = int(plan.rows[s]), int(plan.positions[s])
            last = min(first + int(plan.num_tokens[s]), int(self._batch.prompt_len[row]) - 1)
            offset = int(ends[s] - plan.num_tokens[s])
            hidden = hidden_TE[offset : offset + last - first]
            targets = self._batch.tokens[row, first + 1 : last + 1].tolist()
            result.prompt_logprobs[row] = self._scores(hidden, targets, self._num_scores[row])

    def _scores(
        self, hidden_TE: Tensor, targets: Sequence[int], count: int
    ) -> list[list[TokenLogprob]]:
        """Logprobs of each next prompt token; at most `SCORE_ROWS` × vocabulary at a time."""
        found: list[list[TokenLogprob]] = []
        for at in range(0, len(targets), SCORE_ROWS):
            logits = self._model.logits(hidden_TE[at : at + SCORE_ROWS])
            part = targets[at : at + SCORE_ROWS]
            pairs = zip(logits, part, strict=True)
            found += [top_logprobs(row, token, count) for row, token in pairs]
        return found


def copy_blocks(cache: KVCache, copies: list[tuple[int, int]]) -> None:
    """Copy whole KV blocks, all layers; a target may not be another pair's source."""
    sources = torch.tensor([source for source, _ in copies])
    targets = torch.tensor([target for _, target in copies])
    for tensor in (*cache.keys, *cache.values):
        tensor[targets] = tensor[sources]
