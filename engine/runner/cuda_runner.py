"""Executes step plans on a GPU: captured graphs, one transfer in, tokens out while the next runs.

A step is a transfer of its numbers, a graph for the forward pass at the smallest captured shape
that holds it, a graph that projects the sampled rows to the vocabulary and draws, and a transfer
of the tokens back. All go to one stream in the order of the plans, so a plan may be launched
before the tokens of the one before it were read. Steps above the largest captured shape, and those
that score prompts, launch the same code without a graph.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.attention_plan import AttentionWork, make_work, narrow_work
from engine.logs import event_log
from engine.lora.device_bank import DeviceBank
from engine.models.decoder import Decoder, KVCache
from engine.runner.batch import BatchShape
from engine.runner.changes import end_rows, start_rows
from engine.runner.constraints import Constraints, Encode
from engine.runner.device_batch import DeviceBatch
from engine.runner.device_sampler import DeviceSampler, Drawn
from engine.runner.graphs import GraphSet, decode_sizes, mixed_sizes, shape_for
from engine.runner.runner import DoneStep, copy_blocks
from engine.runner.sampler import draw_error
from engine.runner.scores import PromptScores
from engine.runner.step_buffers import RING, StepShape
from engine.scheduler.plan import PendingStep, SlotChange, StepPlan, StepResult

OnGraphs = Callable[[int, int], None]  # captured, of

log = event_log(__name__)


class CudaRunner:
    """The `Runner` of scheduler/plan.py on one GPU."""

    overlap = True

    def __init__(
        self,
        model: Decoder,
        cache: KVCache,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_model_len: int,
        encode: Encode | None = None,
        bank: DeviceBank | None = None,
    ) -> None:
        spec, device = model.spec, cache.keys[0].device
        self._model, self._cache, self._device = model, cache, device
        self._bank, self._num_stacks = bank, 0
        self.num_blocks, self.block_size = cache.keys[0].shape[0], cache.keys[0].shape[2]
        self.max_model_len, self.vocab_size = max_model_len, spec.vocab_size
        self._max_seqs, self._max_tokens = max_num_seqs, max(max_num_batched_tokens, max_num_seqs)
        shape = BatchShape(rows=max_num_seqs, max_len=max_model_len, block_size=self.block_size)
        self._batch = DeviceBatch(
            shape, self._max_tokens, device, dynamic_rope=model.rotary.dynamic
        )
        self._sampler = DeviceSampler(
            max_num_seqs,
            spec.vocab_size,
            device,
            self._batch.buffers.device_draw(),
            self._batch.last_tokens,
            encode,
        )
        self._scores = PromptScores(self._batch.host, model.logits)
        dtype = model.weights.embed.dtype
        self._hidden = torch.zeros(max_num_seqs, spec.hidden, dtype=dtype, device=device)
        self._logits = torch.zeros(max_num_seqs, spec.vocab_size, dtype=dtype, device=device)
        self._work = make_work(
            num_seqs=max_num_seqs,
            num_tokens=self._max_tokens,
            num_heads=spec.num_heads,
            num_kv_heads=spec.num_kv_heads,
            head_dim=spec.head_dim,
            dtype=dtype,
            device=device,
        )
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs = GraphSet(self._stream)
        self._decode_sizes: list[int] = []
        self._mixed_sizes: list[int] = []
        self._tokens = [
            torch.zeros(max_num_seqs, dtype=torch.int64).pin_memory() for _ in range(RING)
        ]
        self._turn = 0
        self._previous: CudaStep | None = None
        self._eager: set[StepShape] = set()  # with adapters, that could not be recorded
        self.eager_steps = self.replayed_steps = 0

    @torch.inference_mode()
    def capture(self, report: OnGraphs) -> None:
        """Capture every shape, largest first, so that the smaller ones fit its memory."""
        decode, mixed = decode_sizes(self._max_seqs), mixed_sizes(self._max_tokens)
        shapes = [StepShape(n, min(n, self._max_seqs), False) for n in reversed(mixed)]
        shapes += [StepShape(n, n, True) for n in reversed(decode)]
        total, done = len(shapes) + 2 * len(decode), 0
        with torch.cuda.stream(self._stream):
            for shape in shapes:
                self._write_nothing(shape)
                self._graphs.capture(shape, partial(self._compute, shape))
                done += 1
                report(done, total)
            for size in reversed(decode):
                for plain in (True, False):
                    self._graphs.capture((size, plain), partial(self._project, size, plain=plain))
                    done += 1
                    report(done, total)
            self._stream.synchronize()
        self._decode_sizes, self._mixed_sizes = decode, mixed

    @torch.inference_mode()
    def launch(self, plan: StepPlan) -> PendingStep:
        result = StepResult(step=plan.step, token_ids=np.full(len(plan.rows), -1, np.int64))
        previous = self._previous
        with torch.cuda.stream(self._stream):
            if previous is not None and (plan.starts or plan.ends):
                previous.tell()  # its rows' constraints are about to change hands
            if plan.kv_memory is not None:
                self._hold_memory(plan.kv_memory)
            if plan.slot_changes and self._bank is not None:
                self._change_slots(self._bank, plan.slot_changes)
            self._apply(plan, result)
            if not len(plan.rows):
                return DoneStep(result)
            self._previous = self._run(plan, result, previous)
            return self._previous

    def close(self) -> None:
        """Give the GPU's memory back; nothing can be launched any more. Again: nothing to do."""
        if not self.__dict__:
            return
        torch.cuda.synchronize(self._device)
        self._sampler.grammars.close()
        self.__dict__.clear()  # weights, cache and graphs stay while anything names them
        gc.collect()
        torch.cuda.empty_cache()

    def _apply(self, plan: StepPlan, result: StepResult) -> None:
        """Batch changes of the plan, in its order: ends, copies, starts, new blocks."""
        end_rows(plan, self._sampler, self._scores)
        if plan.copies:
            copy_blocks(self._cache, plan.copies)
        start_rows(plan, result, self._batch, self._sampler, self._scores)
        self._batch.send_blocks()

    def _run(self, plan: StepPlan, result: StepResult, previous: CudaStep | None) -> CudaStep:
        scoring = self._scores.wanted(plan)
        shape = self._shape_of(plan, eager=scoring is not None)
        picked = np.flatnonzero(plan.samples)
        rows = plan.rows[picked]
        array = self._batch.buffers.begin()
        self._batch.write(plan, shape, array)
        if len(rows):
            places = (plan.positions + plan.num_tokens)[picked]
            self._sampler.write(self._batch.buffers.host_draw(array), rows, places)
        self._batch.buffers.send(shape)
        if shape.lora and self._bank is not None and plan.slots is not None:
            self._bank.plan(plan.slots, plan.num_tokens, plan.samples, shape)
        if scoring is not None:
            self._score(plan, scoring, shape, result)
        elif self._graphs.replay(shape):
            self.replayed_steps += 1
        else:
            self.eager_steps += 1
            self._compute(shape)
            if shape.lora and self._is_captured_size(shape):
                self._record(shape)
        drawn = self._draw(rows, previous) if len(rows) else None
        self._turn = (self._turn + 1) % RING
        tokens = self._tokens[self._turn][: len(rows)]
        tokens.copy_(self._sampler.tokens[: len(rows)], non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        followers = self._sampler.followers(rows)
        return CudaStep(result, plan, picked, tokens, done, drawn, followers, self._sampler)

    def _shape_of(self, plan: StepPlan, *, eager: bool) -> StepShape:
        num_tokens, num_seqs = plan.total_tokens, len(plan.rows)
        decodes = plan.num_decodes == num_seqs and bool(plan.samples.all())
        sizes = self._decode_sizes if decodes else self._mixed_sizes
        found = None
        if not eager:
            found = shape_for(
                num_tokens, num_seqs, decodes=decodes, sizes=sizes, max_seqs=self._max_seqs
            )
        if found is None:
            seqs = num_tokens if decodes else min(num_tokens, self._max_seqs)
            found = StepShape(num_tokens, seqs, decodes)
        return found if plan.slots is None else replace(found, lora=True)

    def _is_captured_size(self, shape: StepShape) -> bool:
        if shape in self._eager:
            return False
        return shape.tokens in (self._decode_sizes if shape.decodes else self._mixed_sizes)

    def _record(self, shape: StepShape) -> None:
        """For the next step of this shape; the one that has just been launched stays as it is."""
        try:
            self._graphs.record(shape, partial(self._compute, shape))
        except RuntimeError:  # no memory for it, say: such steps go on without a graph
            log.exception("graph_not_recorded", tokens=shape.tokens, seqs=shape.seqs)
            self._eager.add(shape)

    def _change_slots(self, bank: DeviceBank, changes: list[SlotChange]) -> None:
        """Graphs with adapters are recorded on the way, each when its shape first comes; those
        that do not know a new stack go."""
        if bank.num_stacks != self._num_stacks:
            self._num_stacks = bank.num_stacks
            self._graphs.drop(lambda key: isinstance(key, StepShape) and key.lora)
        bank.change(changes)

    def _forward(self, shape: StepShape, *, cut: bool) -> Tensor:
        work: AttentionWork = narrow_work(self._work, shape.seqs, shape.tokens, shape.decodes)
        step = self._batch.input_of(shape, work, cut=cut)
        if shape.lora and self._bank is not None:
            step.lora = self._bank.step(shape, cut=cut)
        return self._model.forward(step, self._cache)

    def _compute(self, shape: StepShape) -> None:
        """The forward pass; its wanted hidden states to where the projection reads them."""
        hidden = self._forward(shape, cut=True)
        self._hidden[: hidden.shape[0]].copy_(hidden)

    def _score(
        self, plan: StepPlan, scoring: NDArray[np.bool_], shape: StepShape, result: StepResult
    ) -> None:
        """A forward pass that keeps every token's hidden state."""
        self.eager_steps += 1
        hidden = self._forward(shape, cut=False)
        self._scores.score(plan, scoring, hidden, result)
        last = np.cumsum(plan.num_tokens)[plan.samples] - 1
        if len(last):
            self._hidden[: len(last)] = hidden[torch.from_numpy(last).to(self._device)]

    def _draw(self, rows: NDArray[np.int32], previous: CudaStep | None) -> Drawn | None:
        count = len(rows)
        size = next((s for s in self._decode_sizes if s >= count), count)
        if self._sampler.is_plain(rows):
            if not self._graphs.replay((size, True)):
                self._project(count, plain=True)
            return None
        if self._sampler.follows_tokens:
            if previous is not None:
                previous.tell()
            self._sampler.grammars.prepare(rows)
        if not self._graphs.replay((size, False)):
            self._project(count, plain=False)
        return self._sampler.draw(self._logits[:count], rows)

    def _project(self, count: int, *, plain: bool) -> None:
        """Hidden states to logits, and for rows without wishes the draw at once."""
        head = self._model.weights.lm_head.plain_NK
        assert head is not None
        logits = self._logits[:count]
        torch.mm(self._hidden[:count], head.t(), out=logits)
        if plain:
            self._sampler.draw_plain(logits)

    def _write_nothing(self, shape: StepShape) -> None:
        """A step without sequences where a graph of this shape reads its numbers."""
        array = self._batch.buffers.begin()
        array[:] = 0
        self._batch.buffers.host_step(array, shape).slots[:] = -1
        self._batch.buffers.host_draw(array).rows[:] = self._max_seqs
        self._batch.buffers.send(shape)

    def _hold_memory(self, held: bool) -> None:
        """Give the KV cache back, or take it again; graphs know its addresses and go with it."""
        self._stream.synchronize()
        self._graphs.clear()
        self._cache.set_held(held)
        if held and self._decode_sizes:
            self.capture(lambda done, total: None)
        elif not held:
            torch.cuda.empty_cache()


class CudaStep:
    """A step on its way. Its constraints are told the tokens once, by whoever needs them first."""

    def __init__(
        self,
        result: StepResult,
        plan: StepPlan,
        picked: NDArray[np.intp],
        tokens: Tensor,
        done: torch.cuda.Event,
        drawn: Drawn | None,
        followers: list[tuple[int, Constraints]],
        sampler: DeviceSampler,
    ) -> None:
        self._result, self._plan, self._picked = result, plan, picked
        self._tokens, self._done, self._drawn = tokens, done, drawn
        self._followers, self._sampler = followers, sampler
        self._told = False

    def tell(self) -> None:
        """Let the rows' constraints and grammars follow their tokens."""
        if self._told or not self._followers:
            return
        self._told = True
        self._done.synchronize()
        tokens = self._tokens.numpy()
        self._sampler.grammars.accept(self._plan.rows[self._picked], tokens)
        for i, constraints in self._followers:
            if tokens[i] >= 0:
                constraints.add(int(tokens[i]))

    def wait(self) -> StepResult:
        self.tell()
        self._done.synchronize()
        result, tokens = self._result, self._tokens.numpy().copy()
        rows = self._plan.rows[self._picked]
        failed = dict(self._drawn.failed) if self._drawn is not None else {}
        for i in np.flatnonzero(tokens < 0).tolist():
            failed.setdefault(i, draw_error(int(tokens[i])))
        for i, error in failed.items():
            tokens[i] = -1
            result.failed.setdefault(int(rows[i]), error)
        result.token_ids[self._picked] = tokens
        if self._drawn is not None:
            found = self._drawn.logprobs(tokens)
            result.logprobs = {int(rows[i]): scores for i, scores in found.items()}
        return result
