from __future__ import annotations

import pytest

import engine.core as core_module
from engine.errors import InternalError
from engine.messages import EventKind, Finish
from tests.unit.engine.fakes import FakeRunner, expected, make_body, make_harness

OVERLAP = pytest.mark.parametrize("overlap", [False, True])
STARTED, DELTA = EventKind.STARTED, EventKind.DELTA
END, REFUSED = EventKind.END, EventKind.REFUSED


def test_a_request_starts_grows_and_ends():
    harness = make_harness()
    harness.submit("a", [1, 2, 3], max_tokens=3)
    harness.drain()
    assert harness.kinds("a") == [STARTED, DELTA, DELTA, END]
    assert [delta.seq for delta in harness.deltas["a"]] == [0, 1, 2, 3]
    assert harness.tokens("a") == expected([1, 2, 3], 3)
    assert harness.finish("a") is Finish.LENGTH


def test_several_prompts_are_choices_of_one_request():
    harness = make_harness()
    harness.submit("a", [1, 2], [3, 4, 5], n=2, max_tokens=2)
    harness.drain()
    assert sorted({c.index for c in harness.choices("a")}) == [0, 1, 2, 3]
    assert harness.tokens("a", 0) == expected([1, 2], 2)
    assert harness.tokens("a", 2) == expected([3, 4, 5], 2)
    counts = harness.last("a").counts
    assert (counts.prompt_tokens, counts.completion_tokens) == (5, 8)


def test_end_of_text_ends_a_choice_unless_ignored():
    eos = expected([1], 2)[-1]
    harness = make_harness(eos=frozenset({eos}))
    harness.submit("stops", [1], max_tokens=6)
    harness.submit("goes on", [1], max_tokens=6, ignore_eos=True)
    harness.drain()
    assert harness.tokens("stops") == expected([1], 2)
    assert harness.finish("stops") is Finish.STOP
    assert harness.tokens("goes on") == expected([1], 6)


def test_a_stop_id_is_named_as_the_reason_and_end_of_text_is_not():
    stop = expected([1], 3)[-1]
    harness = make_harness(eos=frozenset({expected([2], 1)[-1]}))
    harness.submit("id", [1], stop_token_ids=[stop])
    harness.submit("eos", [2])
    harness.drain()
    assert harness.choices("id")[-1].stop_reason == stop
    assert harness.choices("eos")[-1].stop_reason is None
    assert harness.finish("eos") is Finish.STOP


def test_stops_are_passed_over_until_min_tokens_are_out():
    tokens = expected([1], 8)
    harness = make_harness(eos=frozenset(tokens))
    harness.submit("a", [1], min_tokens=5, max_tokens=8)
    harness.drain()
    assert harness.tokens("a") == tokens[:6]


def test_stop_ids_travel_to_the_runner_for_masking():
    harness = make_harness(eos=frozenset({7, 3}))
    harness.submit("a", [1], stop_token_ids=[5], min_tokens=2)
    harness.submit("b", [1], stop_token_ids=[5], ignore_eos=True)
    harness.step()
    assert [s.stop_ids for s in harness.runner.plans[0].starts] == [(3, 5, 7), (5,)]


def test_no_max_tokens_means_the_rest_of_the_context():
    harness = make_harness(FakeRunner(max_model_len=30))
    harness.submit("a", [1] * 10, max_tokens=None)
    harness.drain()
    assert len(harness.tokens("a")) == 20
    assert harness.finish("a") is Finish.LENGTH


def test_no_max_tokens_in_a_small_cache_means_the_rest_of_the_cache():
    harness = make_harness(FakeRunner(max_model_len=400, num_blocks=5, block_size=4))
    harness.submit("a", [1] * 10, max_tokens=None)
    harness.drain()
    assert len(harness.tokens("a")) == 11  # the last token never enters the cache


def test_logprobs_follow_the_tokens():
    harness = make_harness()
    harness.submit("a", [1], logprobs=0, max_tokens=3)
    harness.drain()
    scored = [candidates[0].token_id for c in harness.choices("a") for candidates in c.logprobs]
    assert scored == harness.tokens("a")


@OVERLAP
@pytest.mark.parametrize("length", [1, 2, 16, 17, 40])
def test_prompt_logprobs_are_gathered_over_chunks_and_sent_once(overlap, length):
    harness = make_harness(FakeRunner(overlap=overlap, num_blocks=40))
    prompt = [i % 50 for i in range(length)]
    harness.submit("warm", prompt)
    harness.drain()
    harness.submit("a", prompt, [7, 8], prompt_logprobs=0, n=2, max_tokens=2)
    harness.drain()
    (sent,) = [d.prompt_logprobs for d in harness.deltas["a"] if d.prompt_logprobs is not None]
    assert sent[0][0] is None
    assert [c[0].token_id for c in sent[0][1:]] == prompt[1:]
    assert [c[0].token_id for c in sent[1][1:]] == [8]
    assert harness.last("a").counts.cached_tokens == 0


def test_max_tokens_zero_only_scores_the_prompt():
    harness = make_harness()
    harness.submit("a", list(range(20)), prompt_logprobs=0, max_tokens=0)
    harness.drain()
    last = harness.last("a")
    assert last.kind is END
    assert harness.tokens("a") == []
    assert harness.finish("a") is Finish.LENGTH
    assert len(last.prompt_logprobs[0]) == 20
    assert last.counts.completion_tokens == 0
    assert not any(plan.samples.any() for plan in harness.runner.plans)


def test_times_are_counted_from_submission():
    now = [10.0]
    runner = FakeRunner(max_rows=1)
    harness = make_harness(runner)
    harness.core._clock = lambda: now[0]
    harness.submit("a", [1], max_tokens=2)
    now[0] += 0.5
    harness.step()
    now[0] += 0.25
    harness.step()
    counts = harness.last("a").counts
    assert (counts.queue_ms, counts.ttft_ms, counts.total_ms) == (500, 500, 750)


@pytest.mark.parametrize(
    ("prompts", "params", "kind", "words"),
    [
        ([[]], {}, "InvalidRequest", "empty"),
        ([], {}, "InvalidRequest", "no prompt"),
        ([[1, 50]], {}, "InvalidRequest", "token id 50"),
        ([[-1]], {}, "InvalidRequest", "token id -1"),
        ([[1]], {"temperature": 3.0}, "InvalidRequest", "temperature"),
        ([[1]], {"stop": ["x"]}, "InvalidRequest", "tokenizer"),
        ([[1] * 41], {}, "ContextTooLong", "41 tokens and 8 more are asked for"),
        ([[1] * 48], {"max_tokens": None}, "ContextTooLong", "context is 48 tokens"),
        ([[1], [1] * 60], {}, "ContextTooLong", "60 tokens"),
    ],
)
def test_a_bad_body_is_refused_in_words_and_harms_nobody(prompts, params, kind, words):
    harness = make_harness()
    harness.submit("good", [1, 2])
    harness.submit("bad", *prompts, **params)
    harness.drain()
    assert harness.kinds("bad") == [REFUSED]
    assert harness.last("bad").error.kind == kind
    assert words in harness.last("bad").error.message
    assert harness.tokens("good") == expected([1, 2], 8)


def test_what_can_never_fit_the_cache_is_refused_with_both_numbers():
    harness = make_harness(FakeRunner(num_blocks=5, block_size=4, max_model_len=100))
    harness.submit("fits", [1] * 11, max_tokens=10)
    harness.submit("never", [1] * 12, max_tokens=10)
    harness.drain()
    assert harness.tokens("fits") == expected([1] * 11, 10)
    error = harness.last("never").error
    assert error.kind == "ContextTooLong"
    assert "12 tokens" in error.message
    assert "holds 20 tokens" in error.message


def test_a_prompt_to_score_that_never_fits_is_refused_and_holds_nobody_up():
    harness = make_harness(FakeRunner(num_blocks=5, block_size=4, max_model_len=100))
    harness.submit("fits", [1] * 20, max_tokens=0, prompt_logprobs=0)
    harness.submit("never", [1] * 21, max_tokens=0, prompt_logprobs=0)
    harness.submit("later", [1, 2], max_tokens=2)
    harness.drain()
    assert harness.last("never").error.kind == "ContextTooLong"
    assert len(harness.last("fits").prompt_logprobs[0]) == 20
    assert harness.tokens("later") == expected([1, 2], 2)


def test_end_of_text_ids_that_the_model_cannot_say_never_reach_the_runner():
    harness = make_harness(FakeRunner(vocab_size=50), eos=frozenset({7, 50, 9000}))
    harness.submit("a", [1], min_tokens=2)
    harness.step()
    assert harness.runner.plans[0].starts[0].stop_ids == (7,)


def test_an_unknown_adapter_is_refused():
    harness = make_harness()
    adapted = make_body("adapted", [1])
    adapted.adapter = "digest"
    harness.core.submit(adapted)
    harness.drain()
    assert harness.last("adapted").error.kind == "ModelNotFound"


@OVERLAP
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_cancelled_request_ends_once_and_frees_its_blocks(overlap, steps):
    harness = make_harness(FakeRunner(overlap=overlap))
    harness.submit("a", [1, 2, 3], n=2, max_tokens=20)
    for _ in range(steps):
        harness.step()
    harness.core.cancel("a", Finish.CANCELLED)
    harness.core.cancel("a", Finish.CANCELLED)
    assert harness.core.gauges().blocks_free == harness.core.gauges().blocks_total
    harness.drain()
    assert harness.kinds("a").count(END) == 1
    assert {c.index for c in harness.choices("a") if c.finish is Finish.CANCELLED} == {0, 1}
    counts = harness.last("a").counts
    assert counts.prompt_tokens == (3 if steps else 0)
    assert counts.completion_tokens == len(harness.tokens("a")) + len(harness.tokens("a", 1))


def test_cancelling_an_unknown_or_ended_request_does_nothing():
    harness = make_harness()
    harness.submit("a", [1], max_tokens=1)
    harness.drain()
    harness.core.cancel("a", Finish.CANCELLED)
    harness.core.cancel("never seen", Finish.CANCELLED)
    assert not harness.core.has_work()


@OVERLAP
def test_a_failing_row_ends_its_request_and_no_other(overlap):
    harness = make_harness(FakeRunner(overlap=overlap, fail_rows_of={"bad"}))
    harness.submit("bad", [1, 2], n=3)
    harness.submit("good", [3, 4])
    harness.drain()
    assert harness.kinds("bad")[-1] is REFUSED
    assert harness.kinds("bad").count(REFUSED) == 1
    assert harness.last("bad").error.kind == "InternalError"
    assert harness.tokens("good") == expected([3, 4], 8)
    assert harness.core.gauges().blocks_free == harness.core.gauges().blocks_total


@OVERLAP
def test_a_row_whose_output_cannot_be_worked_with_ends_its_request_alone(overlap, monkeypatch):
    harness = make_harness(FakeRunner(overlap=overlap))
    accept = core_module.accept_token

    def accept_or_break(sequence, *rest):
        if sequence.request.rid == "bad":
            raise ValueError("secret detail")
        return accept(sequence, *rest)

    monkeypatch.setattr(core_module, "accept_token", accept_or_break)
    harness.submit("bad", [1, 2], n=2)
    harness.submit("good", [3, 4])
    harness.drain()
    assert harness.kinds("bad") == [STARTED, REFUSED]
    assert "secret" not in harness.last("bad").error.message
    assert harness.tokens("good") == expected([3, 4], 8)
    assert harness.core.gauges().blocks_free == harness.core.gauges().blocks_total


@OVERLAP
def test_a_crashed_step_ends_its_requests_and_later_ones_work(overlap):
    harness = make_harness(FakeRunner(overlap=overlap, crash_steps={2}))
    harness.submit("a", [1, 2])
    for _ in range(4):
        harness.step()
    assert harness.kinds("a")[-1] is REFUSED
    harness.submit("b", [3, 4])
    harness.drain()
    assert harness.tokens("b") == expected([3, 4], 8)


def test_a_launch_that_fails_lets_the_step_in_flight_end_first(monkeypatch):
    """The next plan may seat again what the failed one preempted."""
    runner = FakeRunner(overlap=True)
    harness = make_harness(runner)
    harness.submit("whole", [1, 2], max_tokens=1)
    harness.submit("cut", [3, 4])
    harness.step()
    assert len(harness.core._in_flight) == 1

    def no_launch(plan):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "launch", no_launch)
        harness.step()
    assert not harness.core._in_flight
    assert harness.kinds("cut")[-1] is REFUSED
    assert harness.tokens("whole") == expected([1, 2], 1)
    harness.submit("later", [5, 6])
    harness.drain()
    assert harness.tokens("later") == expected([5, 6], 8)


def test_a_runner_that_stays_broken_stops_the_engine():
    harness = make_harness(FakeRunner(crash_steps=set(range(100))))
    for i in range(9):
        harness.submit(f"r{i}", [1])
    harness.step()
    harness.submit("more", [1])
    harness.step()
    harness.submit("still more", [1])
    with pytest.raises(RuntimeError, match="3 steps in a row"):
        harness.drain()


def test_the_same_rid_again_is_ignored_and_a_newer_attempt_takes_over():
    harness = make_harness()
    harness.submit("a", [1, 2], max_tokens=5)
    harness.step()
    harness.submit("a", [9, 9], max_tokens=5)
    newer = make_body("a", [3, 4], max_tokens=5)
    newer.attempt = 2
    harness.core.submit(newer)
    harness.drain()
    by_attempt = [(d.attempt, d.kind) for d in harness.deltas["a"] if d.kind is not DELTA]
    assert by_attempt == [(1, STARTED), (1, END), (2, STARTED), (2, END)]
    assert harness.core.counters.finished == 1


def test_credit_counts_free_rows_and_a_window_less_what_waits():
    harness = make_harness(FakeRunner(max_rows=8))
    assert harness.core.credit() == 8 + 16
    for i in range(10):
        harness.submit(f"r{i}", [i])
    assert harness.core.credit() == 8 + 16 - 10
    harness.step()
    assert harness.core.credit() == 0 + 16 - 2
    harness.drain()
    assert harness.core.credit() == 8 + 16


def test_an_idle_engine_has_no_work_and_makes_no_plan():
    harness = make_harness()
    assert not harness.core.has_work()
    assert harness.step() == []
    assert harness.runner.plans == []


def test_requests_without_a_seed_differ_and_repeat_with_the_engines_seed():
    def tokens(seed: int) -> list[list[int]]:
        harness = make_harness(seed=seed)
        for rid in "ab":
            harness.submit(rid, [1, 2], seed=None)
        harness.drain()
        return [harness.tokens(rid) for rid in "ab"]

    assert tokens(1)[0] != tokens(1)[1]
    assert tokens(1) == tokens(1) != tokens(2)


def test_equal_prompts_of_one_request_are_draws_of_their_own_unless_seeded():
    harness = make_harness()
    harness.submit("free", [1, 2], [1, 2], seed=None)
    harness.submit("fixed", [1, 2], [1, 2], seed=5)
    harness.drain()
    assert harness.tokens("free", 0) != harness.tokens("free", 1)
    assert harness.tokens("fixed", 0) == harness.tokens("fixed", 1)


def test_an_unexpected_error_at_submission_is_refused_without_internals(monkeypatch):
    harness = make_harness()

    def broken(*args: object) -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr(type(harness.core._intake), "accept", broken)
    harness.submit("a", [1])
    harness.drain()
    assert harness.last("a").error.kind == InternalError.__name__
    assert "secret" not in harness.last("a").error.message
