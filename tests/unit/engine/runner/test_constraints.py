"""What a request forbids or prefers, on one row of logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import InvalidRequest
from engine.runner.constraints import Constraints, needs_constraints, spellings
from engine.runner.sampler import Sampler
from engine.sampling_params import SamplingParams, ThinkingBudget
from tests.unit.engine.runner.plans import row_start

VOCAB = 12
WORDS = {"no": [5], " no": [6], "bad": [1, 2], " bad": [7, 2], "far": [VOCAB], " far": [4]}


def encode(text: str) -> list[int]:
    return WORDS[text]


def applied(params: SamplingParams, tokens: list[int], prompt_len: int) -> np.ndarray:
    start = row_start(0, tokens, [0], params, prompt_len=prompt_len)
    logits = np.ones(VOCAB, np.float32)
    Constraints(start, VOCAB, encode).apply(logits)
    return logits


def forbidden(logits: np.ndarray) -> list[int]:
    return np.flatnonzero(np.isneginf(logits)).tolist()


def test_plain_sampling_needs_none() -> None:
    assert not needs_constraints(SamplingParams(temperature=0.7, top_p=0.9, seed=1))


def test_allowed_ids_forbid_the_rest() -> None:
    assert forbidden(applied(SamplingParams(allowed_token_ids=[0, 4]), [1], 1)) == [
        i for i in range(VOCAB) if i not in (0, 4)
    ]


def test_stop_ids_wait_for_min_tokens() -> None:
    params = SamplingParams(min_tokens=2, max_tokens=9)
    assert forbidden(applied(params, [1, 1, 8], 2)) == [3]
    assert forbidden(applied(params, [1, 1, 8, 8], 2)) == []


def test_bad_words_of_several_tokens_are_cut_at_their_last() -> None:
    params = SamplingParams(bad_words=["bad", "no"])
    assert forbidden(applied(params, [1], 1)) == [5, 6]  # the prompt does not count
    assert forbidden(applied(params, [0, 1], 1)) == [2, 5, 6]
    assert forbidden(applied(params, [0, 7], 1)) == [2, 5, 6]
    assert spellings("bad", encode) == [[1, 2], [7, 2]]


def test_bad_words_the_model_cannot_say_are_passed_over() -> None:
    params = SamplingParams(bad_words=["far"])
    assert forbidden(applied(params, [1], 1)) == [4]


def test_bias_and_penalties_add_up() -> None:
    params = SamplingParams(
        logit_bias={4: 2.0},
        repetition_penalty=2.0,
        frequency_penalty=0.5,
        presence_penalty=0.25,
    )
    logits = applied(params, [1, 9, 9, 4], 1)  # prompt 1, output 9 9 4
    assert logits[0] == 1.0
    assert logits[1] == 0.5  # repetition counts the prompt, the others do not
    assert logits[9] == 0.5 - 2 * 0.5 - 0.25
    assert logits[4] == (1.0 + 2.0) / 2 - 0.5 - 0.25


def test_negative_logits_are_multiplied_by_the_repetition_penalty() -> None:
    start = row_start(0, [1], [0], SamplingParams(repetition_penalty=2.0))
    logits = np.full(VOCAB, -1.0, np.float32)
    Constraints(start, VOCAB, None).apply(logits)
    assert (logits[1], logits[2]) == (-2.0, -1.0)


def test_tokens_sampled_later_are_penalised_too() -> None:
    start = row_start(0, [1], [0], SamplingParams(presence_penalty=1.0))
    constraints, logits = Constraints(start, VOCAB, None), np.zeros(VOCAB, np.float32)
    constraints.add(7)
    constraints.apply(logits)
    assert logits[7] == -1.0


def test_request_that_forbids_everything_fails_alone() -> None:
    sampler = Sampler(2, VOCAB, encode)
    nothing = SamplingParams(temperature=0, allowed_token_ids=[3], min_tokens=5, max_tokens=9)
    sampler.start(row_start(0, [1], [0], nothing))
    sampler.start(row_start(1, [1], [0], SamplingParams(temperature=0)))
    logits = torch.zeros(2, VOCAB)
    logits[1, 5] = 1.0
    found = sampler.sample(logits, np.array([0, 1], np.int32), np.array([1, 1]))
    assert isinstance(found.failed[0], InvalidRequest)
    assert found.token_ids.tolist() == [-1, 5]


@pytest.mark.parametrize("row", [0, 1])
def test_settings_of_a_row_end_with_it(row: int) -> None:
    sampler = Sampler(2, VOCAB, encode)
    pushed = SamplingParams(temperature=0, logit_bias={4: 9.0}, logprobs=1)
    sampler.start(row_start(row, [1], [0], pushed))
    rows, places = np.array([row], np.int32), np.array([1])
    assert sampler.sample(torch.zeros(1, VOCAB), rows, places).token_ids.tolist() == [4]
    sampler.end(row)
    sampler.start(row_start(row, [1], [0], SamplingParams(temperature=0)))
    after = sampler.sample(torch.zeros(1, VOCAB), rows, places)
    assert after.token_ids.tolist() == [0]
    assert after.logprobs == {}


@pytest.mark.parametrize(
    ("output", "begun", "forced"),
    [
        ([3, 3], False, False),  # no reasoning began
        ([9, 3], False, False),
        ([9, 3, 3], False, True),
        ([3, 3], True, True),
        ([3, 8, 3, 3], True, False),  # it ended by itself
        ([9, 3, 3, 8], False, False),
    ],
)
def test_a_spent_budget_ends_the_reasoning(output: list[int], begun: bool, forced: bool) -> None:
    budget = ThinkingBudget(tokens=2, end_id=8, start_ids=[9], begun=begun)
    logits = applied(SamplingParams(thinking_budget=budget), [1, *output], 1)
    assert forbidden(logits) == ([i for i in range(VOCAB) if i != 8] if forced else [])
