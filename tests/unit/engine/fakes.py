"""A runner that computes nothing but checks everything a real one would rely on.

Its KV cache stores the token of each slot. To sample, it reads the whole context back through the
row's block table, so a block that was shared, copied, freed or reused wrongly changes the output
(or meets poison and fails the test at once).
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import InternalError
from engine.messages import ChoiceDelta, Delta, EventKind, QueueBody, TokenLogprob
from engine.sampling_params import SamplingParams
from engine.scheduler.plan import RowStart, StepPlan, StepResult

EMPTY = -7


def next_token(context: list[int], seed: int, vocab_size: int) -> int:
    """The fake model: a pure function of everything before, and of the choice's seed."""
    text = ",".join(map(str, [seed, *context])).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little") % vocab_size


@dataclass
class Row:
    start: RowStart
    tokens: list[int]
    blocks: list[int]


@dataclass
class FakeRunner:
    """Executes plans lazily but in order, like a device behind a queue."""

    overlap: bool = False
    num_blocks: int = 16
    block_size: int = 4
    max_model_len: int = 48
    vocab_size: int = 50
    max_rows: int = 8
    budget: int = 16
    fail_rows_of: set[str] = field(default_factory=set)  # request ids
    crash_steps: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.kv = np.full((self.num_blocks, self.block_size), EMPTY, np.int64)
        self.rows: dict[int, Row] = {}
        self.plans: list[StepPlan] = []
        self.computed_tokens = 0
        self.closed = False
        self._queue: deque[tuple[StepPlan, FakeStep]] = deque()

    def launch(self, plan: StepPlan) -> FakeStep:
        self._check(plan)
        self.plans.append(plan)
        step = FakeStep(self, plan.step)
        self._queue.append((plan, step))
        assert len(self._queue) <= 1 + self.overlap
        return step

    def close(self) -> None:
        self.closed = True

    def run_until(self, wanted: int) -> None:
        while self._queue and self._queue[0][0].step <= wanted:
            plan, step = self._queue.popleft()
            if plan.step in self.crash_steps:
                self._queue.clear()
                self.rows.clear()
                raise RuntimeError("the device fell off")
            step.result = self._execute(plan)

    def _check(self, plan: StepPlan) -> None:
        assert plan.total_tokens <= self.budget
        assert plan.total_tokens or plan.slot_changes or plan.kv_memory is not None
        assert len(set(plan.rows.tolist())) == len(plan.rows) <= self.max_rows
        assert (plan.num_tokens[: plan.num_decodes] == 1).all()
        assert plan.samples[: plan.num_decodes].all()

    def _execute(self, plan: StepPlan) -> StepResult:
        for row in plan.ends:
            self.rows.pop(row, None)
        for start in plan.starts:
            assert start.row not in self.rows, "a row was started twice"
            self.rows[start.row] = Row(start, list(start.token_ids), list(start.blocks[0]))
        for row, _, ids in plan.new_blocks:
            self.rows[row].blocks += ids
        for source, target in plan.copies:
            self.kv[target] = self.kv[source]
        self._write(plan)
        return self._sample(plan)

    def _write(self, plan: StepPlan) -> None:
        written: set[tuple[int, int]] = set()
        for i, row_id in enumerate(plan.rows.tolist()):
            row, first = self.rows[row_id], int(plan.positions[i])
            for position in range(first, first + int(plan.num_tokens[i])):
                slot = (row.blocks[position // self.block_size], position % self.block_size)
                assert slot not in written, "two rows wrote one slot"
                written.add(slot)
                self.kv[slot] = row.tokens[position]
                self.computed_tokens += 1

    def _sample(self, plan: StepPlan) -> StepResult:
        ids = np.full(len(plan.rows), -1, np.int64)
        result = StepResult(step=plan.step, token_ids=ids)
        for i, row_id in enumerate(plan.rows.tolist()):
            row, first, size = self.rows[row_id], int(plan.positions[i]), int(plan.num_tokens[i])
            if row.start.request_id in self.fail_rows_of:
                result.failed[row_id] = InternalError("this row failed")
                row.tokens.append(0)  # it may stand in a plan that is launched already
                continue
            if row.start.params.prompt_logprobs is not None:
                result.prompt_logprobs[row_id] = [
                    [TokenLogprob(row.tokens[p + 1], -0.5 * p, 1)]
                    for p in range(first, min(first + size, row.start.prompt_len - 1))
                ]
            if not plan.samples[i]:
                continue
            assert first + size == len(row.tokens)
            context = self._read(row)
            assert context == row.tokens, "the cache does not hold what was written"
            ids[i] = next_token(context, row.start.seed, self.vocab_size)
            row.tokens.append(int(ids[i]))
            if row.start.params.logprobs is not None:
                places = range(max(1, row.start.params.logprobs))
                result.logprobs[row_id] = [
                    TokenLogprob((int(ids[i]) + p) % self.vocab_size, -1.0 - p, p + 1)
                    for p in places
                ]
        return result

    def _read(self, row: Row) -> list[int]:
        size = self.block_size
        return [int(self.kv[row.blocks[p // size], p % size]) for p in range(len(row.tokens))]


@dataclass
class FakeStep:
    runner: FakeRunner
    step: int
    result: StepResult | None = None

    def wait(self) -> StepResult:
        self.runner.run_until(self.step)
        assert self.result is not None
        return self.result


@dataclass
class Harness:
    """An engine on a fake runner, and everything it has said so far."""

    runner: FakeRunner
    core: EngineCore
    deltas: dict[str, list[Delta]] = field(default_factory=dict)

    def submit(self, rid: str, *prompts: list[int], **params: object) -> None:
        self.core.submit(make_body(rid, *prompts, **params))

    def step(self) -> list[Delta]:
        out = self.core.step()
        for delta in out:
            self.deltas.setdefault(delta.rid, []).append(delta)
        return out

    def drain(self, most: int = 5000) -> None:
        for _ in range(most):
            if not self.core.has_work():
                return
            self.step()
        raise AssertionError(f"still busy after {most} steps: {self.core.gauges()}")

    def kinds(self, rid: str) -> list[EventKind]:
        return [delta.kind for delta in self.deltas.get(rid, [])]

    def choices(self, rid: str) -> list[ChoiceDelta]:
        return [choice for delta in self.deltas[rid] for choice in delta.choices]

    def tokens(self, rid: str, index: int = 0) -> list[int]:
        return [t for c in self.choices(rid) if c.index == index for t in c.token_ids]

    def finish(self, rid: str, index: int = 0) -> object:
        return next(c.finish for c in self.choices(rid) if c.index == index and c.finish)

    def last(self, rid: str) -> Delta:
        return self.deltas[rid][-1]


def make_body(rid: str, *prompts: list[int], priority: int = 0, **params: object) -> QueueBody:
    fields: dict[str, object] = {"temperature": 0.0, "seed": 1, "max_tokens": 8, **params}
    return QueueBody(
        rid=rid,
        attempt=1,
        web="w",
        model="m",
        prompts=[list(prompt) for prompt in prompts],
        params=SamplingParams(**fields),  # type: ignore[arg-type]
        priority=priority,
        deadline_ms=0,
    )


def make_harness(
    runner: FakeRunner | None = None, eos: frozenset[int] = frozenset(), **options: object
) -> Harness:
    runner = runner or FakeRunner()
    config = EngineConfig(
        max_num_seqs=runner.max_rows,
        max_num_batched_tokens=max(16, runner.budget),
        **options,  # type: ignore[arg-type]
    )
    return Harness(runner, EngineCore(config, runner, None, eos))


def expected(prompt: list[int], count: int, seed: int = 1, vocab_size: int = 50) -> list[int]:
    """What the fake model says after a prompt, computed without any engine."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(next_token(tokens, seed, vocab_size))
    return tokens[len(prompt) :]
