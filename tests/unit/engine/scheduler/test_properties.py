"""Random traffic against the fake runner, which checks budget, rows and cache content itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.messages import EventKind, Finish, QueueBody
from tests.unit.engine.fakes import FakeRunner, Harness, expected, make_body, make_harness

CONTEXT = 40


@dataclass(frozen=True)
class Spec:
    prompt: tuple[int, ...]
    n: int
    max_tokens: int
    arrives: int
    cancelled: int | None = None
    priority: int = 0


PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=30).map(tuple)
SPECS = st.builds(
    Spec,
    prompt=PROMPTS,
    n=st.integers(1, 3),
    max_tokens=st.integers(1, 10),
    arrives=st.integers(0, 30),
    cancelled=st.none() | st.none() | st.integers(0, 60),
    priority=st.integers(-1, 1),
)
RUNNERS = st.builds(
    FakeRunner,
    overlap=st.booleans(),
    num_blocks=st.integers(CONTEXT // 4, 24),
    max_model_len=st.just(CONTEXT),
    max_rows=st.integers(1, 6),
    budget=st.integers(16, 24),
)


def run(
    specs: list[Spec], runner: FakeRunner, eos: frozenset[int] = frozenset(), **options: object
) -> Harness:
    """Play the traffic to its end, then check what must hold for any traffic."""
    runner = replace(runner)  # an explicit example's runner may be used twice
    harness = make_harness(runner, eos, **options)
    for step in range(400):
        for i, spec in enumerate(specs):
            if spec.arrives == step:
                harness.core.submit(body_of(f"r{i}", spec))
            if spec.cancelled == step:
                harness.core.cancel(f"r{i}", Finish.CANCELLED)
        harness.step()
        gauges = harness.core.gauges()
        assert 0 <= gauges.running <= runner.max_rows
        assert gauges.waiting >= 0
        if step >= 60 and not harness.core.has_work():
            break
    harness.drain()
    check_end(harness, specs)
    return harness


def body_of(rid: str, spec: Spec) -> QueueBody:
    return make_body(
        rid, list(spec.prompt), priority=spec.priority, n=spec.n, max_tokens=spec.max_tokens
    )


def check_end(harness: Harness, specs: list[Spec]) -> None:
    gauges = harness.core.gauges()
    assert (gauges.running, gauges.waiting) == (0, 0)
    assert gauges.blocks_free == gauges.blocks_total, "blocks leaked"
    for i, spec in enumerate(specs):
        deltas = harness.deltas.get(f"r{i}", [])
        kinds = [delta.kind for delta in deltas]
        ends = [kind for kind in kinds if kind in (EventKind.END, EventKind.REFUSED)]
        assert len(ends) == 1, f"r{i} ended {len(ends)} times"
        assert kinds[-1] is ends[0]
        assert kinds.count(EventKind.STARTED) <= 1
        assert [delta.seq for delta in deltas] == list(range(len(deltas)))
        finishes = [c.index for c in harness.choices(f"r{i}") if c.finish is not None]
        assert sorted(finishes) == list(range(spec.n))
        counts = deltas[-1].counts
        assert counts is not None
        total = sum(len(harness.tokens(f"r{i}", c)) for c in range(spec.n))
        assert counts.completion_tokens == total


@example(  # a leader preempted with its only token in flight, two siblings behind it
    specs=[
        Spec((2, 0, 1, 0, 2, 0, 0, 1, 2, 0, 2, 2, 1, 1, *[0] * 13), n=2, max_tokens=1, arrives=17),
        Spec((2, 2, 0, 1, 2), n=3, max_tokens=9, arrives=11),
    ],
    runner=FakeRunner(overlap=True, num_blocks=13, max_model_len=CONTEXT, max_rows=3),
    chunk=7,
)
@given(specs=st.lists(SPECS, min_size=1, max_size=10), runner=RUNNERS, chunk=st.integers(0, 8))
def test_any_traffic_ends_once_and_leaks_nothing(specs, runner, chunk):
    run(specs, runner, eos=frozenset({3, 17, 31}), long_prefill_token_threshold=chunk)


@given(
    specs=st.lists(SPECS.map(lambda s: replace(s, cancelled=None)), min_size=1, max_size=8),
    runner=RUNNERS,
    policy=st.sampled_from(["fcfs", "priority"]),
    caching=st.booleans(),
)
def test_output_depends_on_prompt_and_seed_alone(specs, runner, policy, caching):
    harness = run(specs, runner, scheduling_policy=policy, enable_prefix_caching=caching)
    for i, spec in enumerate(specs):
        want = expected(list(spec.prompt), spec.max_tokens)
        assert harness.tokens(f"r{i}") == want
        assert harness.last(f"r{i}").counts.prompt_tokens == len(spec.prompt)


@given(specs=st.lists(SPECS.map(lambda s: replace(s, cancelled=None)), min_size=1, max_size=6))
def test_overlap_changes_no_token_of_any_choice(specs):
    plain = run(specs, FakeRunner(overlap=False), eos=frozenset({3, 17, 31}))
    ahead = run(specs, FakeRunner(overlap=True), eos=frozenset({3, 17, 31}))
    for i, spec in enumerate(specs):
        for choice in range(spec.n):
            assert plain.tokens(f"r{i}", choice) == ahead.tokens(f"r{i}", choice)
            assert plain.finish(f"r{i}", choice) == ahead.finish(f"r{i}", choice)


@pytest.mark.parametrize("overlap", [False, True])
def test_the_oldest_request_is_never_starved_by_newer_ones(overlap):
    harness = make_harness(FakeRunner(overlap=overlap, num_blocks=10, max_model_len=CONTEXT))
    harness.submit("old", [1] * 20, max_tokens=18)
    for step in range(120):
        harness.submit(f"new{step}", [step % 40, *range(12)], max_tokens=10)
        harness.step()
        if EventKind.END in harness.kinds("old"):
            break
    assert harness.tokens("old") == expected([1] * 20, 18)
    assert step < 60
