"""Executes step plans on one device: batch changes, forward pass, sampling, feedback of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.lora.bank import SlotBank
from engine.models.decoder import Decoder, KVCache
from engine.runner.batch import Batch, BatchShape
from engine.runner.changes import end_rows, start_rows
from engine.runner.constraints import Encode
from engine.runner.sampler import Sampler
from engine.runner.scores import PromptScores
from engine.scheduler.plan import PendingStep, StepPlan, StepResult


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
        self._scores = PromptScores(self._batch, model.logits)

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
        scoring = self._scores.wanted(plan)
        step = self._batch.step_input(plan, scoring)
        if plan.slots is not None and self._bank is not None:
            step.lora = self._bank.step(plan.slots, plan.num_tokens, step.out_rows)
        self._sampler.grammars.prepare(plan.rows[plan.samples])
        hidden = self._model.forward(step, self._cache)
        if scoring is not None:
            self._scores.score(plan, scoring, hidden, result)
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
        end_rows(plan, self._sampler, self._scores)
        if plan.copies:
            copy_blocks(self._cache, plan.copies)
        start_rows(plan, result, self._batch, self._sampler, self._scores)

    def _sample(self, plan: StepPlan, hidden_SE: Tensor, result: StepResult) -> None:
        rows = plan.rows[plan.samples]
        places = (plan.positions + plan.num_tokens)[plan.samples].astype(np.int64)
        sampled = self._sampler.sample(self._model.logits(hidden_SE), rows, places)
        result.token_ids[plan.samples] = sampled.token_ids
        good = sampled.token_ids >= 0
        self._batch.tokens[rows[good], places[good]] = sampled.token_ids[good]
        result.logprobs = {int(rows[i]): found for i, found in sampled.logprobs.items()}
        result.failed |= {int(rows[i]): error for i, error in sampled.failed.items()}


def copy_blocks(cache: KVCache, copies: list[tuple[int, int]]) -> None:
    """Copy whole KV blocks, all layers; a target may not be another pair's source."""
    sources, targets = torch.tensor(copies, device=cache.keys[0].device).unbind(1)
    for tensor in (*cache.keys, *cache.values):
        tensor[targets] = tensor[sources]
