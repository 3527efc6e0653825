"""Step histograms count each step once and each decoding row once."""

from __future__ import annotations

from engine.step_figures import INTER_TOKEN_S, ITERATION_TOKENS, StepFigures


def test_a_step_counts_once_and_its_decodes_each() -> None:
    figures = StepFigures()
    figures.note(num_tokens=64, num_decodes=3, gap_s=0.02)
    figures.note(num_tokens=65, num_decodes=0, gap_s=5.0)
    assert figures.iteration[ITERATION_TOKENS.index(64)] == 1
    assert figures.iteration[ITERATION_TOKENS.index(128)] == 1
    assert figures.iteration_tokens == 129
    assert figures.inter_token[INTER_TOKEN_S.index(0.025)] == 3 == sum(figures.inter_token)
    assert figures.inter_token_us == 60_000


def test_the_last_buckets_have_no_bound() -> None:
    figures = StepFigures()
    figures.note(num_tokens=10**6, num_decodes=1, gap_s=1e4)
    assert (figures.iteration[-1], figures.inter_token[-1]) == (1, 1)
