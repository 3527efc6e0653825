"""What the sampler draws, against exact distributions; and that a row's draws are its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.runner.sampler import Sampler
from engine.sampling_params import SamplingParams
from tests.unit.engine.runner.plans import row_start

VOCAB = 14
KNOWN = [2, 2, 9, 5, 1, 1]  # two tokens of prompt, four of output
PROMPT_LEN = 2
STOP = 3  # of `row_start`
WORDS = {"no": [0], " no": [4], "go on": [1, 6], " go on": [1, 7]}
DRAWS = 3000
Scores = NDArray[np.float64]

CASES = {
    "plain": SamplingParams(),
    "cold": SamplingParams(temperature=0.6),
    "hot": SamplingParams(temperature=1.9),
    "top_k": SamplingParams(top_k=4),
    "top_k over temperature": SamplingParams(top_k=5, temperature=1.5),
    "top_p": SamplingParams(top_p=0.7),
    "min_p": SamplingParams(min_p=0.2),
    "all filters": SamplingParams(top_k=7, top_p=0.8, min_p=0.05, temperature=1.4),
    "presence": SamplingParams(presence_penalty=1.1),
    "frequency": SamplingParams(frequency_penalty=-0.8),
    "repetition": SamplingParams(repetition_penalty=1.7),
    "bias": SamplingParams(logit_bias={0: -2.5, 11: 3.0}),
    "bad words": SamplingParams(bad_words=["no", "go on"]),
    "allowed": SamplingParams(allowed_token_ids=[1, 3, 8, 12]),
    "min_tokens": SamplingParams(min_tokens=5, max_tokens=9),
    "min_tokens over": SamplingParams(min_tokens=4, max_tokens=9),
    "everything": SamplingParams(
        temperature=0.9,
        top_k=9,
        top_p=0.9,
        min_p=0.01,
        presence_penalty=0.4,
        frequency_penalty=0.3,
        repetition_penalty=1.2,
        logit_bias={5: 1.5},
        bad_words=["go on"],
        min_tokens=6,
        max_tokens=9,
    ),
}


def logits() -> NDArray[np.float32]:
    return np.random.default_rng(4).normal(0.0, 1.6, VOCAB).astype(np.float32)


def exact(params: SamplingParams) -> Scores:
    """The distribution worked out one token at a time, from the fields' published meaning."""
    output = KNOWN[PROMPT_LEN:]
    scores = [float(x) for x in logits()]
    for token in range(VOCAB):
        if params.allowed_token_ids is not None and token not in params.allowed_token_ids:
            scores[token] = -np.inf
        if len(output) < params.min_tokens and token == STOP:
            scores[token] = -np.inf
        for word in params.bad_words:
            for text in (word, " " + word):
                *before, last = WORDS[text]
                if token == last and output[len(output) - len(before) :] == before:
                    scores[token] = -np.inf
        scores[token] += (params.logit_bias or {}).get(token, 0.0)
        if token in KNOWN:
            weight = params.repetition_penalty
            scores[token] = scores[token] * weight if scores[token] < 0 else scores[token] / weight
        scores[token] -= params.frequency_penalty * output.count(token)
        scores[token] -= params.presence_penalty * (token in output)
    shares = np.exp(np.array(scores) / params.temperature)
    shares /= shares.sum()
    shares[shares < params.min_p * shares.max()] = 0.0
    order = np.argsort(-shares)
    if params.top_k > 0:
        shares[order[params.top_k :]] = 0.0
    shares /= shares.sum()
    passed = 0.0
    for token in order:
        if passed >= params.top_p:
            shares[token] = 0.0
        passed += shares[token]
    found: Scores = shares / shares.sum()
    return found


def make_sampler(params: SamplingParams, seeds: range) -> Sampler:
    """One row for each seed."""
    sampler = Sampler(len(seeds), VOCAB, WORDS.__getitem__)
    for row, seed in enumerate(seeds):
        sampler.start(row_start(row, KNOWN, [0], params, prompt_len=PROMPT_LEN, seed=seed))
    return sampler


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_exact_distribution(name: str) -> None:
    """Chi-square over fresh seeds; tokens that may not come never do."""
    params, shares = CASES[name], exact(CASES[name])
    counts = np.zeros(VOCAB)
    batch = 500
    for first in range(0, DRAWS, batch):
        sampler = make_sampler(params, range(first, first + batch))
        rows = np.arange(batch, dtype=np.int32)
        places = np.full(batch, len(KNOWN), np.int64)
        given = torch.from_numpy(np.tile(logits(), (batch, 1)))
        tokens = sampler.sample(given, rows, places).token_ids
        counts += np.bincount(tokens, minlength=VOCAB)
    assert counts[shares == 0].sum() == 0
    possible = shares > 0
    expected = shares[possible] * DRAWS
    chi2 = float(((counts[possible] - expected) ** 2 / expected).sum())
    freedom = int(possible.sum()) - 1
    assert chi2 < freedom + 4.5 * np.sqrt(2 * freedom) + 8  # p < 1e-4 for 1 to 13


@pytest.mark.parametrize("name", CASES)
def test_a_rows_draws_do_not_depend_on_the_batch(name: str) -> None:
    """The same row alone and among rows with every other setting."""
    torch.manual_seed(1)
    count, place = 5, len(KNOWN)
    given = torch.randn(len(CASES), count, VOCAB) * 2
    me = list(CASES).index(name)

    def draws(members: list[int]) -> list[int]:
        sampler = Sampler(len(CASES), VOCAB, WORDS.__getitem__)
        for row in members:
            params = list(CASES.values())[row]
            sampler.start(row_start(row, KNOWN, [0], params, prompt_len=PROMPT_LEN, seed=row * 31))
        rows = np.array(members, np.int32)
        found = []
        for i in range(count):
            places = np.full(len(members), place + i, np.int64)
            sampled = sampler.sample(given[members, i].clone(), rows, places)
            found.append(int(sampled.token_ids[members.index(me)]))
        return found

    everyone = list(range(len(CASES)))
    assert draws([me]) == draws(everyone) == draws(everyone[::-1])


def test_another_seed_or_position_is_another_draw() -> None:
    rows, given = np.zeros(1, np.int32), torch.zeros(1, VOCAB)

    def draws(seed: int, first: int) -> list[int]:
        sampler = make_sampler(SamplingParams(), range(seed, seed + 1))
        places = [np.array([first + i]) for i in range(12)]
        return [int(sampler.sample(given.clone(), rows, at).token_ids[0]) for at in places]

    assert draws(5, 0) == draws(5, 0)
    assert draws(5, 0) != draws(6, 0)
    assert draws(5, 0) != draws(5, 1)
    assert draws(5, 0)[1:] == draws(5, 1)[:-1]
    assert draws(-1, 0) == draws(2**64 - 1, 0)  # a negative seed is its 64 bits
