"""The engine's heart: requests in, one step at a time, deltas out. No tensors, no Redis, no text.

`EngineCore` is driven by one thread; only `gauges`, `credit` and `counters` may be read from
another. A step with an overlapping runner launches step n + 1 before it reads step n: a sequence
that ends by a stop has then one wasted row in n + 1, whose result is dropped. Rows and blocks go
back at once all the same, because the runner executes plans in order.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable

from engine.beam import BeamSearches, is_inner
from engine.cache.manager import CacheManager, KVGroup
from engine.config import EngineConfig
from engine.core_contract import ADAPTER_WAIT_S, Gauges
from engine.errors import InternalError, InvalidRequest, Overloaded, PagodaError
from engine.intake import Intake
from engine.logs import event_log
from engine.lora.manager import AdapterManager
from engine.messages import (
    AdapterBeat,
    AdapterSource,
    ChoiceDelta,
    Delta,
    EngineCounters,
    EventKind,
    Finish,
    QueueBody,
    TokenLogprob,
)
from engine.output_stage import accept_token, gather_prompt_logprobs
from engine.pooling.card import PoolingCard
from engine.request import Request, Sequence, Status
from engine.scheduler.plan import PendingStep, Runner, StepPlan, StepResult
from engine.scheduler.scheduler import Batch, Scheduler, SchedulerLimits
from engine.step_figures import StepFigures
from engine.structured.compiler import GrammarCompiler
from engine.structured.gate import GrammarGate
from engine.tokenizer import Tokenizer
from engine.view import CoreView, RequestLook
from engine.wire_errors import describe

DEFAULT_BATCHED_TOKENS = 512  # where `build_core` has not resolved it for the device
CREDIT_WINDOW = 16  # waiting sequences the scheduler may choose from, at least
GRAMMAR_WAIT_S = 0.005  # asleep while nothing but grammars is to be waited for
MAX_BROKEN_STEPS = 3  # so many failures in a row mean the runner is beyond help

# an enum member looked up in its class costs 50 ns, four times per row and step
RUNNING, FINISHED, FAILED = Status.RUNNING, Status.FINISHED, Status.FAILED
DELTA = EventKind.DELTA

log = event_log(__name__)


class EngineCore:
    """Scheduler, cache, output stage and a runner, joined."""

    def __init__(
        self,
        config: EngineConfig,
        runner: Runner,
        tokenizer: Tokenizer | None,
        eos_ids: frozenset[int],
        clock: Callable[[], float] = time.monotonic,
        adapters: AdapterManager | None = None,
        card: PoolingCard | None = None,
    ) -> None:
        self.counters = EngineCounters()
        self.figures = StepFigures()
        self.runner = runner
        self.tokenizer = tokenizer
        self.config = config
        self.card = card
        self._clock = clock
        self._adapters = adapters
        self._cache = CacheManager(
            [KVGroup(block_tokens=runner.block_size, num_blocks=runner.num_blocks)],
            prefix_caching=config.enable_prefix_caching,
        )
        limits = SchedulerLimits(
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=config.max_num_batched_tokens or DEFAULT_BATCHED_TOKENS,
            long_prefill_token_threshold=config.long_prefill_token_threshold,
            whole_prompts=card is not None,
        )
        self._scheduler = Scheduler(limits, self._cache, self.counters, adapters)
        self._intake = Intake(
            cache=self._cache,
            tokenizer=tokenizer,
            # a tokenizer may name an id that the model cannot say
            eos_ids=frozenset(i for i in eos_ids if 0 <= i < runner.vocab_size),
            vocab_size=runner.vocab_size,
            max_model_len=runner.max_model_len,
            by_priority=config.scheduling_policy == "priority",
            seeds=random.Random(config.seed),
            takes_adapters=adapters is not None,
            card=card,
        )
        eos_ids = self._intake.eos_ids
        self.grammars = GrammarGate(
            GrammarCompiler(
                tokenizer,
                vocab_size=runner.vocab_size,
                eos_ids=eos_ids,
                cache_bytes=config.grammar_cache_bytes,
            )
            if tokenizer is not None and eos_ids
            else None
        )
        self._beams = BeamSearches(
            self.submit,
            self.cancel,
            self._leave_adapter,
            eos_ids=eos_ids,
            room=lambda prompt: min(runner.max_model_len, self.kv_tokens + 1) - len(prompt),
            clock=clock,
        )
        self._depth = 1 if runner.overlap else 0
        self._requests: dict[str, Request] = {}
        self._in_flight: deque[tuple[Batch, PendingStep]] = deque()
        self._touched: list[Request] = []  # have choices for this step's deltas
        self._out: list[Delta] = []
        self._arrivals = 0
        self._broken_steps = 0
        self._step_s = clock()  # when the last step's tokens came
        self.asleep = False

    @property
    def max_model_len(self) -> int:
        return self.runner.max_model_len

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds in all."""
        return self._cache.capacity_tokens

    @property
    def chats(self) -> bool:
        """It generates, and its tokenizer has a chat template."""
        return self.card is None and bool(self.tokenizer and self.tokenizer.chat_template)

    def submit(self, body: QueueBody) -> None:
        known = self._requests.get(body.rid)
        attempt = self._beams.attempt(body.rid) if known is None else known.body.attempt
        if attempt >= body.attempt:
            log.warning("duplicate_request", rid=body.rid, attempt=body.attempt)
            return
        if known is not None:  # a newer attempt of ours: the judge gave up on the old one
            self._end(known, Finish.LOST)
        elif attempt:
            self.cancel(body.rid, Finish.LOST)
        now_s = self._clock()
        try:
            if self.asleep:
                raise Overloaded("The engine sleeps: wake it up first.")
            if body.params.use_beam_search:
                self._intake.accept(body, self._arrivals, now_s)  # only its checks are wanted
                self._hold_adapter(body)
                self._beams.begin(body)
                return
            request = self._intake.accept(body, self._arrivals, now_s)
            self.grammars.check(body)
            self._hold_adapter(body)
        except PagodaError as error:
            self._refuse(Request(body, now_s), error)
            return
        except Exception:
            log.exception("submit_failed", rid=body.rid)
            self._refuse(Request(body, now_s), _internal(body.rid))
            return
        self._arrivals += 1
        self._requests[body.rid] = request
        if self.grammars.admit(request):
            self._queue(request)

    def cancel(self, rid: str, finish: Finish) -> None:
        if (ended := self._beams.cancel(rid, finish)) is not None:
            self._out.append(ended)
        elif (request := self._requests.get(rid)) is not None:
            self.counters.aborted += 1
            self._end(request, finish)

    def load_adapter(self, source: AdapterSource) -> None:
        """Know an adapter and read it meanwhile; a failure is told by `adapters`."""
        if self._adapters is None:
            log.warning("adapters_disabled", adapter=source.name)
            return
        self._adapters.register(source)

    def unload_adapter(self, digest: str) -> None:
        """Take no new requests for it; forget it when those here have ended."""
        if self._adapters is not None:
            self._adapters.unregister(digest)

    def adapters(self) -> list[AdapterBeat]:
        """Every adapter this engine knows; may be called by another thread."""
        return [] if self._adapters is None else self._adapters.beats()

    def step(self) -> list[Delta]:
        for request, error in self.grammars.released():
            if error is None:
                self._queue(request)
            else:
                self._fail(request, error)
        if self._adapters is not None:
            self._tend_adapters(self._adapters)
        if (batch := self._scheduler.plan()) is not None:
            self._launch(batch)
        if self._in_flight and (batch is None or len(self._in_flight) > self._depth):
            self._collect(*self._in_flight.popleft())
        elif batch is None and not self._out and self.grammars.num_held:
            self.grammars.wait(GRAMMAR_WAIT_S)
        elif batch is None and not self._out and self._adapters is not None:
            self._adapters.wait(ADAPTER_WAIT_S)
        out, self._out = self._out, []
        return self._beams.take(out) if self._beams else out

    def has_work(self) -> bool:
        if self._requests or self._in_flight or self._out:
            return True
        return self._adapters is not None and self._adapters.has_work

    def gauges(self) -> Gauges:
        return Gauges(
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting,
            blocks_total=self._cache.num_blocks,
            blocks_free=self._cache.num_free,
            blocks_cached=self._cache.num_cached,
            lora_slots_used=self._adapters.slots_used if self._adapters is not None else 0,
            lora_slots_total=self._adapters.slots_total if self._adapters is not None else 0,
        )

    def view(self) -> CoreView:
        """Copies of who holds what; called between steps by the thread that steps."""
        now_s = self._clock()
        return CoreView(
            block_tokens=self.runner.block_size,
            uses=self._cache.uses(),
            findable=self._cache.findable(),
            requests=[self._look(request, now_s) for request in self._requests.values()],
        )

    def _look(self, request: Request, now_s: float) -> RequestLook:
        states = [sequence.status for sequence in request.sequences]
        counts = request.counts(now_s)
        return RequestLook(
            rid=request.rid,
            adapter=request.body.adapter or "",
            running=states.count(RUNNING),
            waiting=states.count(Status.WAITING),
            prompt_tokens=sum(map(len, request.body.prompts)),
            output_tokens=counts.completion_tokens,
            age_ms=counts.total_ms,
            tables=[self._cache.table(sequence.cache) for sequence in request.sequences],
        )

    def credit(self) -> int:
        window = max(CREDIT_WINDOW, self.config.max_num_seqs // 4)
        free = self._scheduler.rows.num_free
        return max(0, free + window - self._scheduler.num_waiting - self.grammars.num_held)

    def reset_prefix_cache(self) -> None:
        """Forget every cached prefix; running requests keep their blocks."""
        self._cache.forget_prefixes()

    def sleep(self) -> None:
        """Give the KV cache's memory back. Raises `InvalidRequest` while requests are open."""
        if self.has_work():
            raise InvalidRequest("Requests are still running: let them end before sleep.")
        if not self.asleep:
            self.asleep = True
            self.reset_prefix_cache()
            self.runner.launch(self._scheduler.memory_plan(held=False)).wait()

    def wake_up(self) -> None:
        """Take the memory again that `sleep` gave back."""
        if self.asleep:
            self.runner.launch(self._scheduler.memory_plan(held=True)).wait()
            self.asleep = False

    def close(self) -> None:
        self.runner.close()
        self.grammars.close()
        if self._adapters is not None:
            self._adapters.close()

    def _queue(self, request: Request) -> None:
        for sequence in request.sequences[:: request.body.params.n]:
            self._scheduler.add(sequence.family)

    def _hold_adapter(self, body: QueueBody) -> None:
        """Keep its adapter until `_leave_adapter`. Raises when that is not to be had. A beam search
        holds it from end to end: its steps come and go."""
        if self._adapters is not None and body.adapter is not None and not is_inner(body.rid):
            self._adapters.accept(body.adapter)

    def _leave_adapter(self, body: QueueBody) -> None:
        if self._adapters is not None and body.adapter is not None and not is_inner(body.rid):
            self._adapters.leave(body.adapter)

    def _tend_adapters(self, adapters: AdapterManager) -> None:
        """Take what was read; end requests whose adapter will not come."""
        for digest, error in adapters.poll():
            for request in list(self._requests.values()):
                if request.body.adapter == digest:
                    self._fail(request, error)

    def _launch(self, batch: Batch) -> None:
        now_s = self._clock()
        for start in batch.plan.starts:
            request = self._requests[start.request_id]
            if request.started_s is None:
                request.started_s = now_s
                self._emit(request, EventKind.STARTED)
        try:
            self._in_flight.append((batch, self.runner.launch(batch.plan)))
        except Exception as error:
            self._break_down([batch], error)
            while self._in_flight:  # the next plan may seat a row that this one preempted
                self._collect(*self._in_flight.popleft())

    def _collect(self, batch: Batch, pending: PendingStep) -> None:
        try:
            result = pending.wait()
        except Exception as error:
            self._break_down([batch, *(later for later, _ in self._in_flight)], error)
            self._in_flight.clear()
            return
        self._broken_steps = 0
        self._note_step(batch.plan)
        self._apply(batch, result)
        self._flush()

    def _note_step(self, plan: StepPlan) -> None:
        now_s = self._clock()
        self.figures.note(int(plan.num_tokens.sum()), plan.num_decodes, now_s - self._step_s)
        self._step_s = now_s

    def _apply(self, batch: Batch, result: StepResult) -> None:
        """Feed one step's results to its sequences; those that ended since are passed over."""
        plan, now_s = batch.plan, self._clock()
        tokens, positions = result.token_ids.tolist(), plan.positions.tolist()
        sizes, samples, rows = plan.num_tokens.tolist(), plan.samples.tolist(), plan.rows.tolist()
        failed, logprobs = result.failed, result.logprobs
        for i, sequence in enumerate(batch.sequences):
            status = sequence.status
            if status is FINISHED or status is FAILED:
                continue
            if failed and (error := failed.get(rows[i])) is not None:
                self._fail(sequence.request, error)
                continue
            try:
                if status is RUNNING:
                    self._advance(sequence, positions[i], sizes[i])
                if positions[i] < sequence.prompt_len:
                    self._prompt_part(sequence, rows[i], positions[i], sizes[i], result)
                if samples[i]:
                    scores = logprobs.get(rows[i]) if logprobs else None
                    self._token(sequence, tokens[i], scores, now_s)
                elif sequence.max_len == sequence.prompt_len == sequence.computed:
                    self._choice(sequence, _without_tokens(sequence, result.vectors.get(rows[i])))
            except Exception:  # text of a foreign tokenizer, for one: it costs this request only
                log.exception("row_failed", rid=sequence.request.rid)
                self._fail(sequence.request, _internal(sequence.request.rid))

    def _advance(self, sequence: Sequence, position: int, size: int) -> None:
        """Confirm computed tokens, and make blocks that are full now findable."""
        computed = sequence.computed = position + size
        if computed % self.runner.block_size < size:
            self._cache.commit(sequence.cache, sequence.tokens, computed)

    def _prompt_part(
        self, sequence: Sequence, row: int, position: int, size: int, result: StepResult
    ) -> None:
        """Score a part of the prompt; at the prompt's end let its siblings come."""
        request, family = sequence.request, sequence.family
        if sequence.params.prompt_logprobs is not None and request.num_unscored:
            gather_prompt_logprobs(sequence, position, result.prompt_logprobs.get(row, []))
        if position + size >= sequence.prompt_len and sequence.is_leader and not family.prefilled:
            request.num_unscored -= request.prompt_logprobs is not None
            self._scheduler.prompt_computed(family)

    def _token(
        self,
        sequence: Sequence,
        token_id: int,
        scores: list[TokenLogprob] | None,
        now_s: float,
    ) -> None:
        request = sequence.request
        if token_id < 0:
            log.error("no_token_sampled", rid=request.body.rid, row=sequence.row)
            self._fail(request, _internal(request.body.rid))
            return
        if request.first_token_s is None:
            request.first_token_s = now_s
        self.counters.generation_tokens += 1
        self._choice(sequence, accept_token(sequence, token_id, scores))

    def _choice(self, sequence: Sequence, delta: ChoiceDelta) -> None:
        request = sequence.request
        if not request.choices:
            self._touched.append(request)
        request.choices.append(delta)
        if delta.finish is not None:
            self.counters.stopped_choices += delta.finish is Finish.STOP
            self.counters.full_choices += delta.finish is Finish.LENGTH
            request.num_open -= 1
            self._scheduler.release(sequence, FINISHED)

    def _flush(self) -> None:
        """One delta per request that got tokens; the last one carries the counts."""
        touched, self._touched = self._touched, []
        for request in touched:
            if not request.choices:  # failed after another of its rows had a token
                continue
            if not request.num_open:
                self.counters.finished += 1
                self._forget(request, EventKind.END)
            elif request.prompt_logprobs is not None:
                self._emit(request, DELTA)
            else:  # by far the most common: kept free of everything else
                body, seq = request.body, request.num_events
                request.num_events = seq + 1
                self._out.append(Delta(body.rid, body.attempt, seq, DELTA, request.choices))
                request.choices = []

    def _emit(self, request: Request, kind: EventKind, error: PagodaError | None = None) -> None:
        delta = Delta(request.rid, request.body.attempt, request.next_event(), kind)
        if request.choices and kind is not EventKind.STARTED:
            delta.choices, request.choices = request.choices, []
        if kind in (EventKind.END, EventKind.REFUSED):
            delta.counts = request.counts(self._clock())
        if kind in (DELTA, EventKind.END) and request.num_unscored == 0:
            delta.prompt_logprobs, request.prompt_logprobs = request.prompt_logprobs, None
        if error is not None:
            delta.error = describe(error)
        self._out.append(delta)

    def _forget(self, request: Request, kind: EventKind, error: PagodaError | None = None) -> None:
        known = self._requests.pop(request.rid, None)
        self.grammars.forget(request)
        if known is not None:
            self._leave_adapter(known.body)
        self._emit(request, kind, error)

    def _end(self, request: Request, finish: Finish) -> None:
        """End from outside: every open choice gets `finish`."""
        for sequence in request.sequences:
            if sequence.status in (Status.WAITING, RUNNING):
                self._scheduler.release(sequence, FINISHED)
                request.choices.append(ChoiceDelta(sequence.index, [], finish=finish))
            elif sequence.status is Status.HELD:
                sequence.status = FINISHED
                request.choices.append(ChoiceDelta(sequence.index, [], finish=finish))
        request.num_open = 0
        self._forget(request, EventKind.END)

    def _fail(self, request: Request, error: PagodaError) -> None:
        for sequence in request.sequences:
            if sequence.status in (Status.WAITING, RUNNING):
                self._scheduler.release(sequence, FAILED)
        self._refuse(request, error)

    def _refuse(self, request: Request, error: PagodaError) -> None:
        self.counters.failed += 1
        self._forget(request, EventKind.REFUSED, error)

    def _break_down(self, batches: list[Batch], error: Exception) -> None:
        """A whole step failed: end its requests. Raises when the runner does not recover."""
        self._broken_steps += 1
        log.error("step_failed", in_a_row=self._broken_steps, exc_info=error)
        if self._adapters is not None:
            self._adapters.refill()  # the step may have died before it filled a slot
        for batch in batches:
            for sequence in batch.sequences:
                if sequence.status in (Status.WAITING, RUNNING):
                    self._fail(sequence.request, _internal(sequence.request.rid))
        if self._broken_steps >= MAX_BROKEN_STEPS:
            raise RuntimeError(f"{self._broken_steps} steps in a row failed") from error


def _without_tokens(sequence: Sequence, vector: bytes | None) -> ChoiceDelta:
    """The end of a choice that is over with its prompt: scored, or pooled to a vector."""
    finish = Finish.LENGTH if vector is None else Finish.STOP
    return ChoiceDelta(sequence.index, [], finish=finish, vector=vector)


def _internal(rid: str) -> InternalError:
    return InternalError(f"The engine failed on request {rid}. It has been logged.")
