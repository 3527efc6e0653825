from __future__ import annotations

import pytest

from engine.messages import EventKind, QueueBody
from tests.unit.engine.fakes import FakeRunner, Harness, expected, make_body, make_harness

OVERLAP = pytest.mark.parametrize("overlap", [False, True])


def started(harness: Harness) -> list[str]:
    return [s.request_id for plan in harness.runner.plans for s in plan.starts]


def test_decodes_come_first_and_prefill_fills_the_budget():
    harness = make_harness(FakeRunner(budget=16, max_rows=4))
    harness.submit("a", [1, 2, 3])
    harness.step()
    harness.submit("b", list(range(30)))
    harness.step()
    plan = harness.runner.plans[-1]
    assert plan.num_decodes == 1
    assert plan.num_tokens.tolist() == [1, 15]
    assert plan.samples.tolist() == [True, False]
    assert harness.core.counters.mixed_steps == 1


def test_a_long_prompt_is_computed_in_chunks_and_samples_once_at_its_end():
    harness = make_harness(FakeRunner(budget=16))
    harness.submit("a", [i % 50 for i in range(40)], max_tokens=1)
    harness.drain()
    sizes = [plan.num_tokens.tolist() for plan in harness.runner.plans]
    assert sizes == [[16], [16], [8]]
    assert [plan.samples.any() for plan in harness.runner.plans] == [False, False, True]
    assert harness.core.counters.chunked_prompts == 1


def test_the_chunk_cap_lets_a_short_prompt_pass_a_long_one():
    harness = make_harness(FakeRunner(budget=16), long_prefill_token_threshold=4)
    harness.submit("long", [1] * 30)
    harness.submit("short", [2, 3])
    harness.step()
    assert harness.runner.plans[0].num_tokens.tolist() == [4, 2]
    assert harness.kinds("short") == [EventKind.STARTED, EventKind.DELTA]


def test_the_chunk_cap_rests_while_nobody_else_waits():
    harness = make_harness(FakeRunner(budget=16), long_prefill_token_threshold=4)
    harness.submit("long", [1] * 30)
    harness.step()
    assert harness.runner.plans[0].num_tokens.tolist() == [16]


def test_first_come_first_served_ignores_priority():
    harness = make_harness(FakeRunner(max_rows=1))
    for rid, priority in (("a", 5), ("b", 0), ("c", -5)):
        harness.core.submit(_body(rid, priority))
    harness.drain()
    assert started(harness) == ["a", "b", "c"]


def test_lower_priority_numbers_run_earlier():
    harness = make_harness(FakeRunner(max_rows=1), scheduling_policy="priority")
    for rid, priority in (("a", 5), ("b", 0), ("c", -5), ("d", 0)):
        harness.core.submit(_body(rid, priority))
    harness.drain()
    assert started(harness) == ["c", "b", "d", "a"]


@OVERLAP
def test_the_youngest_is_preempted_and_still_says_the_same(overlap):
    harness = make_harness(FakeRunner(overlap=overlap, num_blocks=10, max_model_len=40))
    for i in range(4):
        harness.submit(f"r{i}", [i, 7, 9], max_tokens=20)
    harness.drain()
    assert harness.core.counters.preemptions > 0
    again = started(harness)[4:]
    assert again
    assert "r0" not in again
    for i in range(4):
        assert harness.tokens(f"r{i}") == expected([i, 7, 9], 20)


@OVERLAP
def test_the_lowest_priority_is_preempted_first(overlap):
    harness = make_harness(
        FakeRunner(overlap=overlap, num_blocks=10, max_model_len=40), scheduling_policy="priority"
    )
    harness.core.submit(_body("low", 1, max_tokens=20))
    for rid in ("x", "y", "z"):
        harness.core.submit(_body(rid, 0, max_tokens=20))
    harness.drain()
    rows = {start.row: start.request_id for start in harness.runner.plans[0].starts}
    first_loss = next(plan.ends for plan in harness.runner.plans if plan.ends)
    assert rows[first_loss[0]] == "low"


def test_a_cached_prefix_is_not_computed_again():
    harness = make_harness(FakeRunner(block_size=4))
    prompt = list(range(20))
    harness.submit("a", prompt, max_tokens=2)
    harness.drain()
    before = harness.runner.computed_tokens
    harness.submit("b", prompt, max_tokens=2)
    harness.drain()
    assert harness.last("b").counts.cached_tokens == 16
    assert harness.runner.computed_tokens - before == 4 + 1
    assert harness.tokens("a") == harness.tokens("b")
    assert harness.core.counters.prefix_hit_tokens == 16


def test_tenants_with_different_salts_share_nothing():
    harness = make_harness()
    for rid, salt in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        body = _body(rid, 0, prompt=list(range(20)))
        body.salt = salt
        harness.core.submit(body)
        harness.drain()
    cached = {rid: harness.last(rid).counts.cached_tokens for rid in "abc"}
    assert cached == {"a": 0, "b": 0, "c": 16}


@OVERLAP
@pytest.mark.parametrize("length", [1, 3, 4, 5, 15, 16, 17])
@pytest.mark.parametrize("rows", [1, 2, 8])
def test_a_prompt_is_computed_once_for_all_its_choices(overlap, length, rows):
    harness = make_harness(FakeRunner(overlap=overlap, max_rows=rows, num_blocks=40))
    prompt = [i % 50 for i in range(length)]
    harness.submit("a", prompt, n=4, max_tokens=1)
    harness.drain()
    assert harness.runner.computed_tokens == length + 3
    assert harness.last("a").counts.prompt_tokens == length
    assert harness.last("a").counts.completion_tokens == 4
    assert harness.core.gauges().blocks_free == 40


@OVERLAP
def test_choices_have_seeds_of_their_own_and_the_first_uses_the_requests(overlap):
    harness = make_harness(FakeRunner(overlap=overlap, num_blocks=40))
    harness.submit("many", [1, 2, 3, 4, 5], n=3, seed=9)
    harness.submit("one", [1, 2, 3, 4, 5], n=1, seed=9)
    harness.drain()
    texts = [tuple(harness.tokens("many", i)) for i in range(3)]
    assert len(set(texts)) == 3
    assert harness.tokens("one") == list(texts[0])


def test_a_kept_prompt_is_dropped_when_blocks_are_needed():
    harness = make_harness(FakeRunner(num_blocks=7, max_rows=1, max_model_len=28))
    harness.submit("a", [1] * 10, n=2, max_tokens=16)
    harness.drain()
    assert harness.tokens("a", 0) == expected([1] * 10, 16)
    assert len(harness.tokens("a", 1)) == 16


def test_more_decodes_than_budget_take_turns():
    harness = make_harness(FakeRunner(budget=16, max_rows=24, num_blocks=100))
    for i in range(24):
        harness.submit(f"r{i}", [i], max_tokens=12)
    harness.drain()
    for i in range(24):
        assert harness.tokens(f"r{i}") == expected([i], 12)


@OVERLAP
def test_a_late_stop_wastes_at_most_one_row(overlap):
    prompt = [4, 5, 6]
    stop = expected(prompt, 3)[-1]
    harness = make_harness(FakeRunner(overlap=overlap), eos=frozenset({stop}))
    harness.submit("a", prompt, max_tokens=20)
    harness.drain()
    assert harness.tokens("a") == expected(prompt, 3)
    assert harness.runner.computed_tokens == 3 + 2 + overlap


@OVERLAP
def test_an_end_by_length_wastes_nothing(overlap):
    harness = make_harness(FakeRunner(overlap=overlap))
    harness.submit("a", [4, 5, 6], max_tokens=5)
    harness.drain()
    assert harness.runner.computed_tokens == 3 + 4


def _body(rid: str, priority: int, prompt: list[int] | None = None, **params: object) -> QueueBody:
    return make_body(rid, prompt or [1, 2, ord(rid[0]) % 50], priority=priority, **params)
