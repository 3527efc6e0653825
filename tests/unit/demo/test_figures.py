"""The README's figures come from the evaluation's reports and the training log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import demo
from demo.figures import by_hand, merged, phases, replaced, split, stories, table

SETTINGS = {"seed": 7, "count": 200}
JSON = {"right": 193, "total": 200, "share": 0.965, "goal": 0.97, "device": "cuda"}
LISTS = {"right": 200, "total": 200, "share": 1.0, "goal": 0.95, "device": "cpu"}


def test_of_a_part_in_several_reports_the_last_one_counts() -> None:
    better = {**JSON, "right": 198, "device": "cpu"}
    first = {"settings": SETTINGS, "json": JSON, "lists": LISTS}
    parts = merged([first, {"settings": SETTINGS, "json": better}])
    assert parts == {"settings": SETTINGS, "lists": LISTS, "json": better}


def test_reports_of_other_settings_are_refused() -> None:
    with pytest.raises(SystemExit, match="different settings"):
        merged([{"settings": SETTINGS}, {"settings": {"seed": 7, "count": 20}}])


def test_the_table_says_what_missed_its_goal_and_where_it_was_scored() -> None:
    shown = table({"settings": SETTINGS, "json": JSON, "lists": LISTS})
    assert "| json | 193 / 200 | 96.5% | 97% (missed) | GPU |" in shown
    assert "| lists | 200 / 200 | 100.0% | 95% | CPU |" in shown


def test_prompts_by_hand_are_told_kind_by_kind() -> None:
    parts = {"by hand": {"right": 3, "total": 5, "by_task": {"facts": "1/2", "lists": "2/3"}}}
    assert by_hand(parts) == "- by hand (3 / 5): facts 1/2, lists 2/3."


def test_a_phase_is_told_by_its_last_line() -> None:
    names = ("demo", "draft", "pirate", "json-only", "terse")
    log = [{"phase": n, "step": step, "s": step / 10} for n in names for step in (100, 1200)]
    assert "| model | 1,200 × 65,536 | 120 s |" in phases(log)
    assert "| terse | 1,200 × 32,768 | 120 s |" in phases(log)


def test_the_leak_check_is_told_as_it_was_run() -> None:
    found = {"training examples": 40_000, "pairs": 1200, "names": 30, "leaks": 0}
    shown = split({"split": found})
    assert shown.startswith("Read: 40,000 of the 3,200,000 training conversations")
    assert shown.endswith("for 1,200 pairs and 30 names. Leaks found: 0.")
    assert "has not been run" in split({})


def test_stories_are_told_with_their_requests() -> None:
    kept = [{"user": "A story? ", "reply": "Once."}, {"user": "Another.", "reply": "Twice."}]
    shown = stories({"story": {"samples": kept}})
    assert shown == "1. *A story?* Once.\n2. *Another.* Twice."


def test_only_the_named_block_is_written_anew() -> None:
    text = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\nkept\n<!-- /two -->\n"
    assert replaced(text, "one", "new\\1") == text.replace("old", "new\\1")
    with pytest.raises(ValueError, match="no block `<!-- three -->`"):
        replaced(text, "three", "new")


def test_the_readme_shows_the_committed_figures() -> None:
    folder = Path(demo.__file__).parent
    readme = (folder / "README.md").read_text()
    parts = json.loads((folder / "evaluation.json").read_text())
    for name, body in (("evaluation", table(parts)), ("by hand", by_hand(parts))):
        assert replaced(readme, name, body) == readme
