"""The evaluation's report: finished parts are kept, those of other settings refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from demo import evaluate
from demo.evaluate import Report

SETTINGS = {"seed": 7, "count": 200}


def test_finished_parts_are_kept_for_the_same_settings(tmp_path: Path) -> None:
    Report(tmp_path, SETTINGS).add("lists", 199, 200)
    assert Report(tmp_path, SETTINGS).parts["lists"]["right"] == 199


def test_parts_of_a_smaller_run_are_not_taken_for_the_whole(tmp_path: Path) -> None:
    Report(tmp_path, {"seed": 7, "count": 20}).add("lists", 20, 20)
    with pytest.raises(SystemExit, match="another --out folder or delete"):
        Report(tmp_path, SETTINGS)


def test_a_part_below_its_goal_is_named(tmp_path: Path) -> None:
    report = Report(tmp_path, SETTINGS)
    report.add("arithmetic", 194, 200)
    report.add("json", 193, 200)
    assert report.missed() == ["json"]
    assert "| json | 193 / 200 | 96.5% | 97% |" in report.table()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--count", "0"], "at least one prompt"),
        (["--parts", "arithmetics"], "invalid choice: 'arithmetics'"),
        (["--demo", "nowhere"], "--demo nowhere has no pagoda-demo/model.safetensors"),
    ],
)
def test_a_wrong_option_is_told(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", "--out", str(tmp_path / "new"), *options])
    with pytest.raises(SystemExit) as stopped:
        evaluate.main()
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
