"""The `Runner` of pooling models: whole prompts in, one vector or matrix per row out."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engine.errors import InternalError
from engine.logs import event_log
from engine.models.decoder import Decoder, KVCache
from engine.models.encoder import Encoder
from engine.pooling.params import PoolingParams
from engine.pooling.pooler import Pooler
from engine.runner.batch import Batch, BatchShape
from engine.runner.runner import DoneStep
from engine.scheduler.plan import PendingStep, RowStart, StepPlan, StepResult

log = event_log(__name__)


class Trunk(Protocol):
    """A model without its head. Prompts are never split, so no state outlives a step."""

    num_blocks: int
    block_size: int
    vocab_size: int

    def start(self, start: RowStart) -> None: ...

    def hidden(self, plan: StepPlan) -> Tensor:
        """[T, E] float32 for the plan's rows, one after the other."""

    def hold_memory(self, held: bool) -> None:
        """Give the KV cache's memory back, or take it again."""


class EncoderTrunk:
    """An encoder has no KV cache: one block stands for the seat of one sequence."""

    def __init__(self, model: Encoder, *, max_num_seqs: int, max_model_len: int) -> None:
        self._model = model
        self.block_size, self.vocab_size = max_model_len, model.spec.vocab_size
        self.num_blocks = max_num_seqs + 2 + max_num_seqs // 99  # the scheduler keeps 1 % back
        self._ids: dict[int, Tensor] = {}  # of the rows that start in this step
        self._types: dict[int, Tensor] = {}

    def start(self, start: RowStart) -> None:
        ids = torch.tensor(start.token_ids)
        types = torch.zeros_like(ids)
        if start.second_at:
            types[start.second_at :] = 1
        self._ids[start.row], self._types[start.row] = ids, types

    def hidden(self, plan: StepPlan) -> Tensor:
        rows = plan.rows.tolist()
        ends = np.cumsum(plan.num_tokens, dtype=np.int32)
        q_start = torch.from_numpy(np.concatenate((np.zeros(1, np.int32), ends)))
        ids = torch.cat([self._ids.pop(row) for row in rows])
        types = torch.cat([self._types.pop(row) for row in rows])
        return self._model.forward(ids, types, q_start)

    def hold_memory(self, held: bool) -> None:
        pass


class DecoderTrunk:
    """A decoder run over whole prompts; its KV cache serves one step."""

    def __init__(
        self, model: Decoder, cache: KVCache, *, max_num_seqs: int, max_model_len: int
    ) -> None:
        self._model, self._cache = model, cache
        self.num_blocks, self.block_size = cache.keys[0].shape[0], cache.keys[0].shape[2]
        self.vocab_size = model.spec.vocab_size
        shape = BatchShape(rows=max_num_seqs, max_len=max_model_len, block_size=self.block_size)
        self._batch = Batch(shape, dynamic_rope=model.rotary.dynamic)

    def start(self, start: RowStart) -> None:
        self._batch.start(start)

    def hidden(self, plan: StepPlan) -> Tensor:
        every = np.ones(len(plan.rows), np.bool_)
        ends = dataclasses.replace(plan, samples=every)
        return self._model.forward(self._batch.step_input(ends, every), self._cache)

    def hold_memory(self, held: bool) -> None:
        self._cache.set_held(held)


class PoolingRunner:
    """Runs the trunk over a plan's rows and pools each of them."""

    overlap = False

    def __init__(self, trunk: Trunk, pooler: Pooler, *, max_model_len: int) -> None:
        self._trunk, self._pooler = trunk, pooler
        self.num_blocks, self.block_size = trunk.num_blocks, trunk.block_size
        self.max_model_len, self.vocab_size = max_model_len, trunk.vocab_size
        self._params: dict[int, PoolingParams] = {}  # by row

    @torch.inference_mode()
    def launch(self, plan: StepPlan) -> PendingStep:
        result = StepResult(step=plan.step, token_ids=np.full(len(plan.rows), -1, np.int64))
        if plan.kv_memory is not None:
            self._trunk.hold_memory(plan.kv_memory)
        for start in plan.starts:
            assert start.pooling is not None
            self._params[start.row] = start.pooling
            self._trunk.start(start)
        if len(plan.rows):
            self._pool(plan, self._trunk.hidden(plan), result)
        return DoneStep(result)

    def close(self) -> None:
        self._params.clear()

    def _pool(self, plan: StepPlan, hidden_TE: Tensor, result: StepResult) -> None:
        parts = torch.split(hidden_TE, plan.num_tokens.tolist())
        for row, hidden_LE in zip(plan.rows.tolist(), parts, strict=True):
            answer = self._pooler(hidden_LE, self._params.pop(row))
            if bool(answer.isfinite().all()):
                result.vectors[row] = answer.numpy().astype("<f4").tobytes()
            else:
                log.error("vector_not_finite", row=row)
                result.failed[row] = InternalError("The model made numbers that are not finite.")
