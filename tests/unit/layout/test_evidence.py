"""docs/reliability.md says what the files beside it say, and nothing more."""

from __future__ import annotations

import re

import msgspec
import pytest

from tests import evidence

RUN = {"commit": "abc", "at": "2026-01-02T03:04:05", "seed": 7, "duration_s": 2.0}


def test_the_page_is_what_its_files_say():
    written = evidence.PAGE.read_text().split(evidence.MARK)[1]
    assert written == evidence.page(), "run: python -m tests.evidence"


def test_no_figure_stands_outside_the_generated_part():
    by_hand = evidence.PAGE.read_text().split(evidence.MARK)[0]
    assert re.findall(r"\d+", by_hand) == []


def made(goals: dict[str, str], *runs: dict[str, object]) -> evidence.Evidence:
    text = {"title": "T", "command": "make t", "goals": goals, "runs": [RUN | run for run in runs]}
    return msgspec.convert(text, evidence.Evidence)


def test_counts_are_added_and_of_peaks_the_largest_stands():
    both = made({}, {"counts": {"n": 2}, "peaks": {"s": 1.5}}, {"counts": {"n": 3}})
    assert both.figures == {"n": 5, "s": 1.5}


@pytest.mark.parametrize(
    ("goal", "word"), [("= 0", "**no**"), (">= 1", "yes"), ("<= 1", "yes"), ("<= 0", "**no**")]
)
def test_a_goal_that_is_missed_says_no(goal, word):
    text = evidence.section(evidence.FOLDER / "t.json", made({"n": goal}, {"counts": {"n": 1}}))
    assert f"| n | 1 | {goal} | {word} |" in text


def test_a_goal_without_a_figure_says_no():
    text = evidence.section(evidence.FOLDER / "t.json", made({"m": "= 0"}, {"counts": {"n": 1}}))
    assert "| m | not measured | = 0 | **no** |" in text


def test_a_file_with_a_misspelt_field_is_refused():
    with pytest.raises(msgspec.ValidationError, match="unknown field `speed`"):
        made({}, {"counts": {}, "speed": 1})
