"""Beam search equals an exhaustive search where the beams are wide enough to see all of it."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest

from engine.beam import Beam, PromptBeams
from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import InvalidRequest
from engine.lora.manager import AdapterLimits, AdapterManager
from engine.messages import AdapterSource, Delta, EventKind, Finish, TokenLogprob
from engine.sampling_params import SamplingParams
from engine.testing import FakeAdapter
from tests.unit.engine.fakes import FakeRunner, make_body, make_harness

VOCAB = 5
EOS = 4


def scores(tokens: tuple[int, ...]) -> list[float]:
    """Made-up log-probabilities of what follows `tokens`."""
    raw = np.random.default_rng([7, *tokens]).normal(size=VOCAB)
    return list(raw - math.log(np.exp(raw).sum()))


def searched(width: int, steps: int, penalty: float) -> list[Beam]:
    beams = PromptBeams([0], width, penalty, steps, frozenset({EOS}))
    while beams.live:
        found = []
        for beam in beams.live:
            row = scores(tuple(r.token_id for r in beam.rows))
            ranked = sorted(range(VOCAB), key=lambda token: -row[token])
            found.append([TokenLogprob(t, row[t], i) for i, t in enumerate(ranked, 1)])
        beams.advance(found)
    return beams.best()


def exhaustive(steps: int, penalty: float) -> list[tuple[int, ...]]:
    """All texts in order of their score."""
    found: list[tuple[float, tuple[int, ...]]] = []
    for length in range(1, steps + 1):
        for text in itertools.product(range(VOCAB), repeat=length):
            ends = text[-1] == EOS
            if EOS in text[:-1] or (not ends and length < steps):
                continue
            total = sum(scores(text[:i])[token] for i, token in enumerate(text))
            found.append((total / max(1, length - ends) ** penalty, text))
    return [text for _, text in sorted(found, reverse=True)]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -1.0])
def test_wide_beams_find_the_best_texts_there_are(penalty: float) -> None:
    best = searched(width=400, steps=4, penalty=penalty)
    found = [tuple(row.token_id for row in beam.rows) for beam in best[:10]]
    assert found == exhaustive(4, penalty)[:10]


def test_a_penalty_below_zero_likes_short_texts() -> None:
    def length(penalty: float) -> int:
        return len(searched(8, 12, penalty)[0].rows)

    assert length(-2.0) < length(3.0)


@pytest.mark.parametrize("overlap", [False, True])
def test_a_search_is_one_request_outside(overlap: bool) -> None:
    harness = make_harness(FakeRunner(overlap=overlap, max_rows=8, num_blocks=32))
    harness.submit("a", [1, 2], [3, 4, 5], n=2, max_tokens=3, use_beam_search=True)
    harness.drain()
    assert harness.kinds("a") == [EventKind.STARTED, EventKind.END]
    last = harness.last("a")
    assert [choice.index for choice in last.choices] == [0, 1, 2, 3]
    assert all(len(choice.token_ids) == 3 for choice in last.choices)
    assert {choice.finish for choice in last.choices} == {Finish.LENGTH}
    assert (last.counts.prompt_tokens, last.counts.completion_tokens) == (5, 12)
    assert set(harness.deltas) == {"a"}


def test_a_cancelled_search_leaves_nothing_behind() -> None:
    harness = make_harness(FakeRunner())
    harness.submit("a", [1, 2], n=2, max_tokens=30, use_beam_search=True)
    for _ in range(5):
        harness.step()
    harness.core.cancel("a", Finish.CANCELLED)
    harness.drain()
    assert harness.last("a").kind is EventKind.END
    assert {choice.finish for choice in harness.last("a").choices} == {Finish.CANCELLED}
    assert harness.core.gauges().running == 0


def test_a_search_cut_short_counts_the_tokens_of_its_beams() -> None:
    harness = make_harness(FakeRunner())
    harness.submit("a", [1, 2], n=2, max_tokens=30, use_beam_search=True, ignore_eos=True)
    for _ in range(9):
        harness.step()
    harness.core.cancel("a", Finish.CANCELLED)
    harness.drain()
    assert harness.last("a").counts.completion_tokens >= 4


@pytest.mark.parametrize("steps", [0, 2, 5])
def test_a_newer_attempt_at_a_search_takes_its_place(steps: int) -> None:
    harness = make_harness(FakeRunner())
    body = make_body("a", [1, 2], n=2, max_tokens=6, use_beam_search=True)
    harness.core.submit(body)
    for _ in range(steps):
        harness.step()
    harness.core.submit(body)  # the same attempt twice changes nothing
    harness.core.submit(msgspec.structs.replace(body, attempt=2))
    harness.drain()
    ends = {d.attempt: d for d in harness.deltas["a"] if d.kind is EventKind.END}
    assert {choice.finish for choice in ends[1].choices} == {Finish.LOST}
    assert {choice.finish for choice in ends[2].choices} == {Finish.LENGTH}
    assert len(ends) == sum(d.kind is EventKind.END for d in harness.deltas["a"]) == 2


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_adapter_that_is_unloaded_stays_until_the_search_has_ended(cancelled: bool) -> None:
    adapters = AdapterManager(AdapterLimits(), lambda source: FakeAdapter(8))
    core = EngineCore(EngineConfig(), FakeRunner(), None, frozenset(), adapters=adapters)
    core.load_adapter(AdapterSource(digest="d"))
    body = make_body("a", [1, 2], n=2, max_tokens=9, use_beam_search=True, ignore_eos=True)
    core.submit(msgspec.structs.replace(body, adapter="d"))
    out: list[Delta] = []
    while not out:  # until it has started
        out += core.step()
    core.unload_adapter("d")
    core.submit(msgspec.structs.replace(make_body("late", [1]), adapter="d"))
    if cancelled:
        core.cancel("a", Finish.CANCELLED)
    while core.has_work():
        out += core.step()
    ends = {delta.rid: delta for delta in out}
    assert ends["late"].kind is EventKind.REFUSED
    assert {choice.finish for choice in ends["a"].choices} == {
        Finish.CANCELLED if cancelled else Finish.LENGTH
    }
    assert core.adapters() == []
    core.close()


@pytest.mark.parametrize(
    "fields",
    [{"stop": ["x"]}, {"n": 11}, {"logprobs": 3}, {"allowed_token_ids": [1]}, {"min_tokens": 2}],
)
def test_what_bends_probabilities_is_refused_by_name(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SamplingParams(use_beam_search=True, **fields).check()  # type: ignore[arg-type]
    assert caught.value.param == next(iter(fields))
