"""The contract of `engine.core.Core`, held by the engine and by the fake that stands in for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.core_contract import Core
from engine.messages import Delta, EventKind, Finish
from engine.testing import FakeCore, FakeSpeed
from tests.unit.engine.fakes import FakeRunner, make_body, make_harness

ROWS = 8
MAKERS: dict[str, Callable[[], Core]] = {
    "engine": lambda: make_harness(FakeRunner(max_rows=ROWS, num_blocks=64)).core,
    "engine ahead": lambda: (
        make_harness(FakeRunner(max_rows=ROWS, num_blocks=64, overlap=True)).core
    ),
    "fake": lambda: FakeCore(FakeSpeed(max_num_seqs=ROWS, max_model_len=48)),
}


@pytest.fixture(params=sorted(MAKERS))
def core(request: pytest.FixtureRequest) -> Core:
    return MAKERS[request.param]()


def drain(core: Core) -> dict[str, list[Delta]]:
    found: dict[str, list[Delta]] = {}
    for _ in range(1000):
        if not core.has_work():
            return found
        for delta in core.step():
            found.setdefault(delta.rid, []).append(delta)
    raise AssertionError("the core never came to rest")


def test_events_are_numbered_and_begin_and_end_once(core):
    for i in range(5):
        core.submit(make_body(f"r{i}", [i, 1], [2], n=2, max_tokens=3 + i))
    for deltas in drain(core).values():
        kinds = [delta.kind for delta in deltas]
        assert [delta.seq for delta in deltas] == list(range(len(deltas)))
        assert kinds[0] is EventKind.STARTED
        assert kinds[-1] is EventKind.END
        assert set(kinds[1:-1]) <= {EventKind.DELTA}


def test_every_choice_finishes_once_with_its_tokens_counted(core):
    core.submit(make_body("a", [1, 2, 3], [4], n=2, max_tokens=5))
    deltas = drain(core)["a"]
    choices = [choice for delta in deltas for choice in delta.choices]
    assert sorted(c.index for c in choices if c.finish is Finish.LENGTH) == [0, 1, 2, 3]
    for index in range(4):
        assert sum(len(c.token_ids) for c in choices if c.index == index) == 5
    counts = deltas[-1].counts
    assert (counts.prompt_tokens, counts.completion_tokens) == (4, 20)
    assert all(delta.counts is None for delta in deltas[:-1])


def test_a_bad_prompt_is_refused_by_one_event_with_an_error(core):
    core.submit(make_body("empty", []))
    core.submit(make_body("long", [1] * 48))
    for deltas in drain(core).values():
        assert [delta.kind for delta in deltas] == [EventKind.REFUSED]
        assert deltas[0].error is not None
        assert deltas[0].counts is not None


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_cancel_ends_open_choices_with_the_given_finish(core, steps):
    core.submit(make_body("a", [1], n=2, max_tokens=20))
    seen = [delta for _ in range(steps) for delta in core.step()]
    core.cancel("a", Finish.CANCELLED)
    deltas = seen + drain(core)["a"]
    assert deltas[-1].kind is EventKind.END
    assert [c.finish for c in deltas[-1].choices] == [Finish.CANCELLED] * 2
    made = sum(len(c.token_ids) for delta in deltas for c in delta.choices)
    assert deltas[-1].counts.completion_tokens == made
    assert not core.has_work()


def test_cancelling_what_is_not_there_does_nothing(core):
    core.cancel("nobody", Finish.CANCELLED)
    assert drain(core) == {}


def test_credit_shrinks_with_what_waits_and_comes_back(core):
    rest = core.credit()
    assert rest == ROWS + 16
    for i in range(12):
        core.submit(make_body(f"r{i}", [i], max_tokens=4))
    assert core.credit() == rest - 12
    drain(core)
    assert core.credit() == rest


def test_gauges_are_at_rest_after_work(core):
    core.submit(make_body("a", [1, 2], n=3))
    core.step()
    assert core.gauges().running + core.gauges().waiting == 3
    drain(core)
    gauges = core.gauges()
    assert (gauges.running, gauges.waiting) == (0, 0)
    assert gauges.blocks_free == gauges.blocks_total


def test_counters_tell_what_was_done(core):
    core.submit(make_body("a", [1, 2], max_tokens=4))
    core.submit(make_body("b", []))
    drain(core)
    counters = core.counters
    assert (counters.finished, counters.failed, counters.aborted) == (1, 1, 0)
    assert (counters.prompt_tokens, counters.generation_tokens) == (2, 4)
