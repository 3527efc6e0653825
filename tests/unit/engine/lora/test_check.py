"""Bad adapters are refused with every problem named; good ones pass; nothing raises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.lora.check import Report, adapter_digest, check_folder
from engine.lora.layout import linear_shapes
from engine.models.loader import tensor_shapes
from tests.unit.engine.lora.adapter_drafts import ALL, BASE_CONFIG, SPEC, Draft, draft
from tests.unit.engine.lora.bad_adapters import Bad, corpus

BAD = corpus()
GOOD: dict[str, Draft] = {
    **{f"rank {rank}": draft(rank) for rank in (1, 2, 3, 7, 8, 16, 64, 255, 256)},
    **{f"only {name}": draft(targets=(name,)) for name in ALL},
    "all linears": draft(targets=ALL),
    "all-linear": draft(targets=ALL, target_modules="all-linear"),
    "float16": draft(dtype=np.float16),
    "bfloat16": draft(dtype=np.uint16),
    "rslora": draft(use_rslora=True),
    "regex": draft(target_modules=r"model\.layers\.\d+\.(self_attn\.q|mlp\.down)_proj"),
    "full names": draft(target_modules=["self_attn.q_proj", "mlp.down_proj"]),
    "one layer": draft(layers=(1,), layers_to_transform=1),
    "layer list": draft(layers=(0,), layers_to_transform=[0], layers_pattern="layers"),
    "excluded": draft(
        targets=("q_proj",), target_modules=["q_proj", "o_proj"], exclude_modules=["o_proj"]
    ),
    "rank pattern": draft(ranks={"q_proj": 9}, rank_pattern={"q_proj": 9}),
    "alpha pattern": draft(alpha_pattern={".*down_proj": 1.5}),
    "eva": draft(init_lora_weights="eva", eva_config={"rho": 2.0}),
    "unknown but empty": draft(some_later_key=None, another=False),
    "a readme": Draft(draft().config, draft().tensors, beside={"README.md": b"hello"}),
    "fractional alpha": draft(lora_alpha=0.5),
}


def report_of(made: Draft, tmp_path: Path, **limits: Any) -> Report:
    return check_folder(made.write(tmp_path / "adapter"), SPEC, **limits).report


def test_corpus_is_large_and_its_names_are_unique():
    assert len(BAD) >= 150
    assert len({name for name, _, _ in BAD}) == len(BAD)
    assert len(GOOD) >= 20


@pytest.mark.parametrize("bad", BAD, ids=[name for name, _, _ in BAD])
def test_bad_adapter_is_refused_with_every_problem_named(bad: Bad, tmp_path):
    _, made, words = bad
    report = report_of(made, tmp_path)
    said = "\n".join(report.problems)
    assert not report.ok
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("name", GOOD)
def test_good_adapter_is_accepted(name, tmp_path):
    report = report_of(GOOD[name], tmp_path)
    assert report.problems == []
    assert report.digest == adapter_digest(tmp_path / "adapter")
    assert report.tensors == len(GOOD[name].tensors)


def test_rank_limit_is_the_callers(tmp_path):
    assert report_of(draft(16), tmp_path / "a", max_rank=16).ok
    problems = report_of(draft(17), tmp_path / "b", max_rank=16).problems
    assert problems == ["Rank 17 is over the limit of 16."]


def test_digest_follows_content_and_nothing_else(tmp_path):
    one, same, other = (tmp_path / name for name in "abc")
    draft().write(one)
    draft().write(same)
    draft(lora_alpha=9).write(other)
    assert adapter_digest(one) == adapter_digest(same) != adapter_digest(other)


def test_linears_are_those_of_the_checkpoint_loader():
    expected = tensor_shapes(SPEC)
    for name, shape in linear_shapes(SPEC).items():
        assert expected[f"model.layers.0.{name}.weight"] == shape


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 900), st.binary(min_size=1, max_size=4))
def test_any_bytes_anywhere_end_in_a_report(tmp_path_factory, at, noise):
    folder = tmp_path_factory.mktemp("fuzz") / "adapter"
    made = draft()
    made.file = lambda whole: whole[:at] + noise + whole[at + len(noise) :]
    report = check_folder(made.write(folder), SPEC).report
    assert report.ok or report.problems


def validate(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.lora.validate", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_reports_in_json_and_by_its_status(tmp_path):
    good, bad = draft(8).write(tmp_path / "good"), draft(512).write(tmp_path / "bad")
    base = tmp_path / "config.json"
    base.write_text(json.dumps(BASE_CONFIG))
    done = validate(str(good), "--base", str(base), "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["ok"], said["rank"], said["problems"]) == (0, True, 8, [])
    done = validate(str(bad), "--base", str(base), "--max-rank", "16")
    assert done.returncode == 1
    assert "- Rank 512 is over the limit of 16." in done.stdout
    done = validate(str(good), "--base", str(good))
    assert done.returncode == 2
    assert "holds no config.json" in done.stderr
