"""Repeated tokens end a choice when the request asks for that."""

from __future__ import annotations

import pytest

from engine.errors import InvalidRequest
from engine.messages import Finish
from engine.sampling_params import RepetitionDetection, SamplingParams
from tests.unit.engine.fakes import FakeRunner, make_harness


def ended(vocab_size: int, **sizes: int) -> tuple[list[int], Finish | None]:
    """Tokens and finish of a choice over so small a vocabulary that it soon repeats itself."""
    harness = make_harness(FakeRunner(vocab_size=vocab_size))
    detection = RepetitionDetection(**sizes)
    harness.submit("a", [1], max_tokens=40, repetition_detection=detection)
    harness.drain()
    return harness.tokens("a"), harness.finish("a")


@pytest.mark.parametrize(("size", "count"), [(1, 2), (1, 4), (2, 2), (2, 3)])
def test_a_choice_ends_with_the_first_pattern_that_is_complete(size: int, count: int) -> None:
    tokens, finish = ended(2, max_pattern_size=size, min_pattern_size=size, min_count=count)

    def repeats(upto: int) -> bool:
        tail = tokens[max(0, upto - size * count) : upto]
        return len(tail) == size * count and tail == tail[:size] * count

    assert finish is Finish.REPETITION
    assert [i for i in range(len(tokens) + 1) if repeats(i)] == [len(tokens)]


def test_text_without_the_pattern_runs_on() -> None:
    tokens, finish = ended(50, max_pattern_size=4, min_count=3)
    assert (len(tokens), finish) == (40, Finish.LENGTH)


@pytest.mark.parametrize(
    "sizes",
    [
        {"max_pattern_size": 0},
        {"max_pattern_size": 257},
        {"max_pattern_size": 3, "min_pattern_size": 4},
        {"max_pattern_size": 3, "min_count": 1},
    ],
)
def test_sizes_without_sense_are_refused_by_name(sizes: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match=r"repetition_detection\.m"):
        SamplingParams(repetition_detection=RepetitionDetection(**sizes)).check()
