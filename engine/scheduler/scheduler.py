"""Decides what one step computes: a token budget, running sequences first, then waiting ones.

There are no prefill and decode phases. A sequence has known, computed and scheduled tokens, and a
step moves `scheduled` towards `known`. Blocks for all known tokens are taken on admission, so only
decoding rows ever ask for more; when none are left, the sequence with the highest `order` gives
its blocks back and is computed again later. The oldest sequence can always displace all others,
and whatever cannot fit alone was refused before, so every sequence ends.

A plan may be made while the step before is still in flight: nothing here reads its results.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from engine.cache.manager import CacheManager
from engine.lora.manager import AdapterManager
from engine.messages import EngineCounters
from engine.request import Family, Sequence, Status
from engine.scheduler.plan import RowStart, StepPlan
from engine.scheduler.queue import WaitingQueue
from engine.scheduler.rows import RowTable

LONG_PROMPT_CHUNKS = 3  # EngineCounters.chunked_prompts counts prompts of so many chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """Sizes of a step, resolved for model and machine."""

    max_num_seqs: int
    max_num_batched_tokens: int
    long_prefill_token_threshold: int = 0  # 0: no cap on one prompt's chunk
    whole_prompts: bool = False  # a prompt is one chunk, over the budget only when it is alone


@dataclass(frozen=True, slots=True)
class Batch:
    """A plan and the sequence of each of its rows."""

    plan: StepPlan
    sequences: list[Sequence]


@dataclass(slots=True)
class _Draft:
    """A plan in the making."""

    budget: int
    starts: list[RowStart] = field(default_factory=list)
    new_blocks: list[tuple[int, int, list[int]]] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)
    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    preempted: bool = False
    passed_over: set[str] = field(default_factory=set)  # adapters that cannot run in this step


class Scheduler:
    """Owns rows, waiting queue and the cache's block tables; knows no text and no tensors."""

    def __init__(
        self,
        limits: SchedulerLimits,
        cache: CacheManager,
        counters: EngineCounters,
        adapters: AdapterManager | None = None,
    ) -> None:
        self.adapters = adapters
        self.limits = limits
        self.cache = cache
        self.counters = counters
        self.rows = RowTable(limits.max_num_seqs)
        self.num_waiting = 0
        self._queue = WaitingQueue()
        self._prefilling: list[Sequence] = []  # running, in order, more than a decode to do
        self._holding: list[Family] = []  # families that keep their prompt for siblings
        self._ends: list[int] = []
        self._steps = count()

    @property
    def num_running(self) -> int:
        return self.rows.num_running

    def add(self, family: Family) -> None:
        """Queue the choices of one prompt; only the leader may start at once."""
        family.num_unstarted = len(family.members) - 1
        self.num_waiting += len(family.members)
        self._queue.push(family.members[0])

    def plan(self) -> Batch | None:
        """The next step, or None when nothing can be computed before a result arrives."""
        step = next(self._steps)
        draft = _Draft(self.limits.max_num_batched_tokens)
        decodes = self._plan_decodes(draft, step)
        self._plan_prefills(draft)
        self._admit(draft)
        changed = self.adapters is not None and self.adapters.has_changes
        if not len(decodes) and not draft.chunks and not changed:
            return None
        return self._batch(step, draft, decodes)

    def release(self, sequence: Sequence, status: Status) -> None:
        """Take an ended sequence out, wherever it is. Blocks return in the order plans run."""
        if sequence.status is Status.RUNNING:
            self._unseat(sequence)
        else:
            self.num_waiting -= 1
            self._mark_started(sequence)
        sequence.status = status

    def prompt_computed(self, family: Family) -> None:
        """The leader's prompt has its KV: keep it, and let the siblings come.

        A leader that was preempted meanwhile has nothing to keep; they use the prefix cache.
        """
        leader, *siblings = family.members
        family.prefilled = True
        if siblings and leader.status is Status.RUNNING:
            family.held = self.cache.hold(leader.cache, leader.prompt_len)
            self._holding.append(family)
        for sibling in siblings:
            self._queue.push(sibling)

    def _plan_decodes(self, draft: _Draft, step: int) -> NDArray[np.intp]:
        """Rows that decode, each with a block for its token; preempts until they have one."""
        rows = self.rows
        while True:
            decodes = rows.decodes(draft.budget, step)
            short = decodes[rows.scheduled[decodes] >= rows.room[decodes]]
            if self.cache.can_grow(len(short)):
                break
            if not self._drop_one_held():
                self._preempt(max(rows.running(), key=_order))
                draft.preempted = True
        for row in short.tolist():
            sequence = rows.sequence_of[row]
            assert sequence is not None
            grown = self.cache.grow(sequence.cache, int(rows.scheduled[row]) + 1)
            draft.new_blocks += [(row, group, ids) for group, ids in grown]
            rows.room[row] = self.cache.room(sequence.cache)
        draft.budget -= len(decodes)
        return decodes

    def _plan_prefills(self, draft: _Draft) -> None:
        for sequence in self._prefilling.copy():
            if draft.budget == 0:
                return
            self._take_chunk(draft, sequence)

    def _admit(self, draft: _Draft) -> None:
        """Seat waiting sequences in strict order: a small one never overtakes a big one.

        Those whose adapter cannot run yet are passed over; `AdapterManager` sees to it that they
        are not for ever. Not in a step that preempts: the victim's last token may be in flight.
        """
        if draft.preempted:
            return
        if self.adapters is not None:
            self.adapters.begin_pass()
        while draft.budget and self.rows.num_free and (sequence := self._best(draft)):
            too_long = self.limits.whole_prompts and len(sequence.tokens) > draft.budget
            if (too_long and draft.chunks) or not self._seat(draft, sequence):
                return
            self._take_chunk(draft, sequence)

    def _best(self, draft: _Draft) -> Sequence | None:
        """The first waiting sequence whose adapter, if it has one, can run in this step."""
        while (sequence := self._queue.peek(draft.passed_over)) is not None:
            adapter = sequence.adapter
            if adapter is None or self.adapters is None or self.adapters.can_seat(adapter):
                return sequence
            draft.passed_over.add(adapter)
        return None

    def _seat(self, draft: _Draft, sequence: Sequence) -> bool:
        """Give blocks and a row, if blocks are there. Counts a prompt on its first admission."""
        while not self._give_blocks(draft, sequence):
            if self.num_running or not self._drop_one_held():
                return False
        self._queue.pop(sequence)
        self.num_waiting -= 1
        sequence.status = Status.RUNNING
        sequence.num_chunks = 0
        slot = -1
        if self.adapters is not None and sequence.adapter is not None:
            slot = self.adapters.seat(sequence.adapter)
        sequence.row = self.rows.take(sequence, self.cache.room(sequence.cache), slot)
        self._prefilling.append(sequence)
        self._prefilling.sort(key=_order)
        draft.starts.append(self._row_start(sequence))
        if sequence.is_leader and not sequence.started:
            self._count_prompt(sequence)
        self._mark_started(sequence)
        return True

    def _give_blocks(self, draft: _Draft, sequence: Sequence) -> bool:
        """Blocks for all known tokens: forked, found or fresh. False changes nothing."""
        reserve = max(1, self.cache.num_blocks // 100) if self.num_running else 0
        held = sequence.family.held
        if held is not None and not sequence.is_leader and sequence.num_output == 0:
            if not self.cache.can_grow(1 + reserve):
                return False
            draft.copies += self.cache.fork(held, sequence.cache)
            sequence.computed = sequence.prompt_len - 1
            return True
        hit = self.cache.find(sequence.cache, sequence.tokens)
        if not self.cache.can_allocate(hit, len(sequence.tokens), reserve=reserve):
            return False
        self.cache.allocate(sequence.cache, hit, len(sequence.tokens))
        sequence.computed = hit.num_tokens
        return True

    def _take_chunk(self, draft: _Draft, sequence: Sequence) -> None:
        """Schedule as much of the sequence as budget and chunk cap allow."""
        rows, row = self.rows, sequence.row
        left = int(rows.target[row] - rows.scheduled[row])
        size = min(left, draft.budget)
        cap = self.limits.long_prefill_token_threshold
        if cap and (len(self._prefilling) > 1 or self.num_waiting):
            size = min(size, cap)
        if self.limits.whole_prompts:
            size = left
        draft.chunks.append((sequence, size))
        draft.budget = max(0, draft.budget - size)
        sequence.num_chunks += 1
        if sequence.num_chunks == LONG_PROMPT_CHUNKS and sequence.num_output == 0:
            self.counters.chunked_prompts += 1
        if size == left:
            self._prefilling.remove(sequence)

    def _batch(self, step: int, draft: _Draft, decodes: NDArray[np.intp]) -> Batch:
        """Fix the plan and move the row table past it."""
        rows, num_decodes = self.rows, len(decodes)
        picked, num_tokens = decodes.astype(np.int32), np.ones(num_decodes, np.int32)
        if draft.chunks:
            seats = [sequence.row for sequence, _ in draft.chunks]
            picked = np.append(picked, np.array(seats, np.int32))
            sizes = [size for _, size in draft.chunks]
            num_tokens = np.append(num_tokens, np.array(sizes, np.int32))
        positions = rows.scheduled[picked]
        reached = positions + num_tokens
        samples = reached == rows.target[picked]
        for i, (sequence, _) in enumerate(draft.chunks, num_decodes):
            samples[i] &= sequence.max_len > sequence.prompt_len
        rows.scheduled[picked] = reached
        rows.target[picked] += samples
        rows.decoding[picked] = samples
        plan = StepPlan(
            step=step,
            ends=self._ends,
            starts=draft.starts,
            new_blocks=draft.new_blocks,
            copies=draft.copies,
            rows=picked,
            num_tokens=num_tokens,
            positions=positions,
            samples=samples,
            num_decodes=num_decodes,
            slots=rows.slot[picked] if rows.num_adapted else None,
        )
        if self.adapters is not None:
            plan.slot_changes = self.adapters.take_changes()
        self._ends = []
        self.counters.steps += 1
        self.counters.mixed_steps += bool(num_decodes and draft.chunks)
        seated = rows.sequence_of
        return Batch(plan, [s for row in picked.tolist() if (s := seated[row]) is not None])

    def memory_plan(self, *, held: bool) -> StepPlan:
        """A plan without rows that gives the KV cache's memory back or takes it again."""
        ends, self._ends = self._ends, []
        none = np.zeros(0, np.int32)
        return StepPlan(
            step=next(self._steps),
            ends=ends,
            rows=none,
            num_tokens=none,
            positions=none,
            samples=np.zeros(0, np.bool_),
            num_decodes=0,
            kv_memory=held,
        )

    def _row_start(self, sequence: Sequence) -> RowStart:
        pooling = sequence.request.body.pooling
        pairs = pooling.second_at if pooling is not None else []
        return RowStart(
            row=sequence.row,
            request_id=sequence.request.rid,
            token_ids=sequence.tokens.copy(),
            prompt_len=sequence.prompt_len,
            num_computed=sequence.computed,
            blocks=[ids.copy() for ids in sequence.cache.blocks],
            params=sequence.params,
            seed=sequence.seed,
            stop_ids=tuple(sorted(sequence.stop_ids)),
            adapter=sequence.request.body.adapter,
            grammar=sequence.request.grammar,
            pooling=pooling,
            second_at=pairs[sequence.family.prompt_idx] if pairs else 0,
        )

    def _count_prompt(self, leader: Sequence) -> None:
        request, hit = leader.request, leader.computed
        request.prompt_tokens += leader.prompt_len
        request.cached_tokens += hit
        self.counters.prompt_tokens += leader.prompt_len
        self.counters.prefix_queried_tokens += leader.prompt_len * leader.cache.reads_prefix
        self.counters.prefix_hit_tokens += hit

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the queue without blocks; what it has generated is computed again as a prompt."""
        self._unseat(sequence)
        sequence.status = Status.WAITING
        sequence.computed = 0
        self.num_waiting += 1
        self.counters.preemptions += 1
        self._queue.push(sequence)

    def _unseat(self, sequence: Sequence) -> None:
        if self.adapters is not None and sequence.adapter is not None:
            self.adapters.unseat(sequence.adapter)
        self.rows.give_back(sequence.row)
        self._ends.append(sequence.row)
        self.cache.release(sequence.cache)
        if sequence in self._prefilling:
            self._prefilling.remove(sequence)
        sequence.row = -1

    def _mark_started(self, sequence: Sequence) -> None:
        """Once per sequence; the last sibling to start (or to end) lets the held prompt go."""
        family = sequence.family
        if sequence.started or sequence.is_leader:
            sequence.started = True
            return
        sequence.started = True
        family.num_unstarted -= 1
        if family.num_unstarted == 0 and family.held is not None:
            self._drop_held(family)

    def _drop_one_held(self) -> bool:
        """Free a prompt that only waiting siblings keep; they will find or recompute it."""
        if not self._holding:
            return False
        self._drop_held(self._holding[-1])
        return True

    def _drop_held(self, family: Family) -> None:
        assert family.held is not None
        self._holding.remove(family)
        self.cache.drop(family.held)
        family.held = None


def _order(sequence: Sequence) -> tuple[int, int, int]:
    return sequence.order
