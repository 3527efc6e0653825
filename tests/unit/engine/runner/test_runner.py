"""The runner on hand-made plans: chunks, feedback, copies, seeds, scores, rows that fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from engine.errors import InvalidRequest
from engine.runner.runner import ModelRunner
from engine.sampling_params import SamplingParams
from engine.scheduler.plan import RowStart, StepPlan, StepResult
from tests.unit.engine.runner.plans import VOCAB, row_start, toy_runner

GREEDY = SamplingParams(temperature=0.0)
PROMPT = [7, 1, 30, 12, 5, 44, 9, 2, 17, 33, 21, 8, 40, 3, 19, 11, 25, 6, 14]


@dataclass
class Piece:
    """What one row computes in one step."""

    row: int
    position: int
    count: int
    samples: bool


def step(
    runner: ModelRunner,
    pieces: list[Piece],
    *,
    starts: list[RowStart] | None = None,
    ends: list[int] | None = None,
    copies: list[tuple[int, int]] | None = None,
    new_blocks: list[tuple[int, int, list[int]]] | None = None,
) -> StepResult:
    plan = StepPlan(
        step=1,
        ends=ends or [],
        starts=starts or [],
        copies=copies or [],
        new_blocks=new_blocks or [],
        rows=np.array([p.row for p in pieces], np.int32),
        num_tokens=np.array([p.count for p in pieces], np.int32),
        positions=np.array([p.position for p in pieces], np.int32),
        samples=np.array([p.samples for p in pieces], np.bool_),
        num_decodes=sum(p.count == 1 for p in pieces),
    )
    return runner.launch(plan).wait()


def output(runner: ModelRunner, params: SamplingParams, count: int, seed: int = 0) -> list[int]:
    """Run PROMPT alone in row 0, blocks 1 to 3."""
    start = row_start(0, PROMPT, [1, 2, 3], params, seed=seed)
    result = step(runner, [Piece(0, 0, len(PROMPT), True)], starts=[start])
    tokens = [int(result.token_ids[0])]
    for i in range(count - 1):
        result = step(runner, [Piece(0, len(PROMPT) + i, 1, True)])
        tokens.append(int(result.token_ids[0]))
    step(runner, [], ends=[0])
    return tokens


def test_step_without_rows_only_ends_them() -> None:
    runner = toy_runner()
    assert output(runner, GREEDY, 2) == output(runner, GREEDY, 2)


def test_chunks_new_blocks_and_other_rows_change_nothing() -> None:
    alone = output(toy_runner(), GREEDY, 6)
    runner = toy_runner()
    other = row_start(2, PROMPT[::-1], [8, 9], GREEDY)
    start = row_start(5, PROMPT, [4], GREEDY)
    first = [Piece(5, 0, 10, False), Piece(2, 0, 19, True)]
    assert step(runner, first, starts=[other, start]).token_ids.tolist()[0] == -1
    pieces = [Piece(2, 19, 1, True), Piece(5, 10, 9, True)]
    tokens = [int(step(runner, pieces, new_blocks=[(5, 0, [11])]).token_ids[1])]
    for i in range(5):
        pieces = [Piece(2, 20 + i, 1, True), Piece(5, 19 + i, 1, True)]
        tokens.append(int(step(runner, pieces).token_ids[1]))
    assert tokens == alone


def test_seeded_text_is_the_same_in_any_company() -> None:
    params = SamplingParams(temperature=1.0)
    alone = output(toy_runner(), params, 5, seed=42)
    assert alone != output(toy_runner(), params, 5, seed=43)
    runner = toy_runner()
    starts = [
        row_start(row, PROMPT, [2 * row + 1, 2 * row + 2], params, seed=seed)
        for row, seed in enumerate((9, 42, 10))
    ]
    pieces = [Piece(row, 0, 19, True) for row in range(3)]
    tokens = [int(step(runner, pieces, starts=starts).token_ids[1])]
    for i in range(4):
        pieces = [Piece(row, 19 + i, 1, True) for row in (2, 1)]
        tokens.append(int(step(runner, pieces).token_ids[1]))
    assert tokens == alone


def test_recomputed_row_goes_on_as_before() -> None:
    params = SamplingParams(temperature=0.8, repetition_penalty=1.3, frequency_penalty=0.5)
    whole = output(toy_runner(), params, 6, seed=5)
    runner = toy_runner()
    known = PROMPT + whole[:3]
    start = row_start(1, known, [3, 7], params, prompt_len=len(PROMPT), seed=5)
    tokens = [int(step(runner, [Piece(1, 0, len(known), True)], starts=[start]).token_ids[0])]
    for i in range(2):
        tokens.append(int(step(runner, [Piece(1, len(known) + i, 1, True)]).token_ids[0]))
    assert tokens == whole[3:]


def test_copied_block_serves_another_row() -> None:
    runner = toy_runner()
    scored = SamplingParams(temperature=0.0, logprobs=3)
    start = row_start(0, PROMPT, [1, 2], scored)
    expected = step(runner, [Piece(0, 0, 19, True)], starts=[start])
    for tensor in (*runner._cache.keys, *runner._cache.values):
        tensor[5] = float("nan")
    twin = row_start(1, PROMPT, [1, 5], scored, num_computed=18)
    found = step(runner, [Piece(1, 18, 1, True)], starts=[twin], copies=[(2, 5)])
    assert found.failed == {}
    assert found.logprobs[1] == expected.logprobs[0]


def test_prompt_scores_come_in_pieces_and_agree_with_one_pass() -> None:
    params = SamplingParams(temperature=0.0, prompt_logprobs=2)
    runner = toy_runner()
    start = row_start(0, PROMPT, [1, 2], params)
    whole = step(runner, [Piece(0, 0, 19, True)], starts=[start]).prompt_logprobs[0]
    again = row_start(1, PROMPT, [3, 4], params)
    first = step(runner, [Piece(1, 0, 7, False)], starts=[again]).prompt_logprobs[1]
    rest = step(runner, [Piece(1, 7, 12, True)])
    assert len(whole) == len(PROMPT) - 1
    assert [row[0].token_id for row in whole] == PROMPT[1:]
    assert first + rest.prompt_logprobs[1] == whole
    assert rest.token_ids[0] >= 0


def test_prompt_scores_of_more_rows_than_one_batch_of_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = SamplingParams(temperature=0.0, prompt_logprobs=0)
    runner = toy_runner()
    start = row_start(0, PROMPT, [1, 2], params)
    whole = step(runner, [Piece(0, 0, 19, True)], starts=[start]).prompt_logprobs[0]
    monkeypatch.setattr("engine.runner.scores.SCORE_ROWS", 4)
    assert step(runner, [Piece(0, 0, 19, True)]).prompt_logprobs[0] == whole


def test_row_whose_settings_cannot_be_used_fails_alone() -> None:
    def encode(text: str) -> list[int]:
        raise UnicodeEncodeError("utf-8", text, 0, 1, "surrogates not allowed")

    runner = toy_runner(encode=encode)
    good = row_start(0, PROMPT, [1, 2], GREEDY)
    bad = row_start(1, PROMPT, [3, 4], SamplingParams(temperature=0.0, bad_words=["\ud800"]))
    result = step(runner, [Piece(0, 0, 19, True), Piece(1, 0, 10, False)], starts=[good, bad])
    assert list(result.failed) == [1]
    assert isinstance(result.failed[1], InvalidRequest)
    assert result.token_ids[0] == output(toy_runner(), GREEDY, 1)[0]


def test_row_that_follows_a_scored_one_is_not_scored() -> None:
    """Also when the end of the first was lost with a step that broke."""
    runner = toy_runner()
    scored = row_start(0, PROMPT, [1, 2], SamplingParams(temperature=0.0, prompt_logprobs=0))
    assert step(runner, [Piece(0, 0, 19, True)], starts=[scored]).prompt_logprobs
    plain = row_start(0, PROMPT, [1, 2], GREEDY)
    assert step(runner, [Piece(0, 0, 19, True)], starts=[plain]).prompt_logprobs == {}


def test_row_with_broken_numbers_fails_alone() -> None:
    runner = toy_runner()
    good = row_start(0, PROMPT, [1, 2], GREEDY)
    bad = row_start(1, PROMPT, [3, 4], GREEDY)
    step(runner, [Piece(0, 0, 18, False), Piece(1, 0, 18, False)], starts=[good, bad])
    runner._cache.values[0][3] = float("nan")
    result = step(runner, [Piece(0, 18, 1, True), Piece(1, 18, 1, True)])
    assert list(result.failed) == [1]
    assert result.token_ids[1] == -1
    assert 0 <= result.token_ids[0] < VOCAB


def test_logprobs_are_of_the_untouched_distribution() -> None:
    plain = SamplingParams(temperature=0.0, logprobs=3)
    pushed = SamplingParams(temperature=0.0, logprobs=3, logit_bias={4: 100.0})
    runner = toy_runner()
    starts = [row_start(0, PROMPT, [1, 2], plain), row_start(1, PROMPT, [3, 4], pushed)]
    result = step(runner, [Piece(0, 0, 19, True), Piece(1, 0, 19, True)], starts=starts)
    assert result.token_ids[1] == 4
    assert result.logprobs[0][0].rank == 1
    chosen = result.logprobs[1][0]
    assert chosen.token_id == 4
    assert chosen.logprob < 0
    assert next(c for c in result.logprobs[1][1:] if c.rank == 1) == result.logprobs[0][0]
    assert len(result.logprobs[0]) == 3  # the chosen token is among the three likeliest
    assert torch.is_inference_mode_enabled() is False


def test_named_tokens_are_scored_in_place_of_the_likeliest() -> None:
    runner, greedy = toy_runner(), SamplingParams(temperature=0.0, logprobs=20)
    likeliest = step(
        runner, [Piece(0, 0, 19, True)], starts=[row_start(0, PROMPT, [1, 2], greedy)]
    ).logprobs[0]
    first, *_, fifth, sixth = likeliest[:6]
    named = [sixth.token_id, first.token_id, fifth.token_id]
    params = SamplingParams(temperature=0.0, logprob_token_ids=named)
    found = step(
        runner, [Piece(1, 0, 19, True)], starts=[row_start(1, PROMPT, [3, 4], params)]
    ).logprobs[1]
    assert found[0] == first
    assert [c.token_id for c in found[1:]] == [sixth.token_id, fifth.token_id]
    assert [c.logprob for c in found[1:]] == pytest.approx([sixth.logprob, fifth.logprob])
