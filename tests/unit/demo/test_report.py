"""The evaluation's report: finished parts are kept, those of other settings refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from demo import evaluate
from demo.evaluate import Report, digest

SETTINGS = {"seed": 7, "count": 200}


def test_finished_parts_are_kept_for_the_same_settings(tmp_path: Path) -> None:
    Report(tmp_path, SETTINGS).add("lists", 199, 200)
    assert Report(tmp_path, SETTINGS).parts["lists"]["right"] == 199


def test_parts_of_a_smaller_run_are_not_taken_for_the_whole(tmp_path: Path) -> None:
    Report(tmp_path, {"seed": 7, "count": 20}).add("lists", 20, 20)
    with pytest.raises(SystemExit, match="another --out folder or delete"):
        Report(tmp_path, SETTINGS)


def test_parts_of_other_weights_are_not_taken_for_these(tmp_path: Path) -> None:
    weights = tmp_path / "pagoda-demo" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"old")
    old = digest(tmp_path)
    weights.write_bytes(b"new")
    assert digest(tmp_path) != old


def test_the_committed_figures_are_of_the_committed_weights() -> None:
    committed = json.loads((evaluate.HERE / "evaluation.json").read_text())
    assert committed["settings"]["weights"] == digest(evaluate.HERE)


def test_a_leak_check_of_a_part_is_not_taken_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, read = Report(tmp_path, SETTINGS), []

    def check(seed: int, shards: int, examples: int, *_: object) -> tuple[int, list[str]]:
        read.append(shards * examples)
        return shards * examples, []

    monkeypatch.setattr(evaluate, "check", check)
    for shards in (1, 2, 2):
        evaluate.check_split(report, 7, 1, 1, shards, 10, 1)
    assert read == [10, 20]


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
        (["--device", "cuda"], "torch finds no GPU here"),
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
    monkeypatch.setattr(evaluate.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--out", str(tmp_path / "new"), *options])
    with pytest.raises(SystemExit) as stopped:
        evaluate.main()
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
