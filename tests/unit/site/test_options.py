"""Flags of `serve` become engine options and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.settings import SettingError
from inference_site.launcher.options import parse_serve


def test_flags_are_sorted_into_engine_and_server() -> None:
    options = parse_serve(
        ["org/model", "--max-model-len", "8k", "--port=9000", "--served-model-name", "a", "b"]
    )
    assert options.model == "org/model"
    assert options.engine_options == {"max_model_len": "8192"}
    assert options.environment == {"PAGODA_PORT": "9000"}
    assert options.served_names == ("a", "b")


@pytest.mark.parametrize("flag", ["--max_num_seqs", "--max-num-seqs"])
def test_underscores_and_dashes_are_the_same(flag: str) -> None:
    assert parse_serve([flag, "7"]).engine_options == {"max_num_seqs": "7"}


def test_booleans_have_a_no_form() -> None:
    assert parse_serve(["--no-enable-prefix-caching"]).engine_options == {
        "enable_prefix_caching": False
    }
    assert parse_serve(["--enforce-eager"]).engine_options == {"enforce_eager": True}


def test_automatic_length_is_left_to_the_model() -> None:
    assert parse_serve(["--max-model-len", "auto"]).engine_options == {}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--max-modl-len", "5"], "--max-modl-len"),
        (["--port", "99999"], "--port='99999' is outside"),
        (["--server", "gunicorn"], "--server"),
        (["--dtype", "float8"], "--dtype"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["one", "two"], "two"),
    ],
)
def test_bad_flag_is_refused_by_name(argv: list[str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        parse_serve(argv)


def test_file_of_flags_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("model: org/model\nmax-num-seqs: 4\nblock_size: 16\nenforce-eager: true\n")
    options = parse_serve(["--config", str(file), "--max-num-seqs", "9"])
    assert options.model == "org/model"
    assert options.engine_options == {
        "max_num_seqs": "9",
        "block_size": "16",
        "enforce_eager": True,
    }


def test_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("- a\n- b\n")
    with pytest.raises(SettingError, match="must hold a mapping"):
        parse_serve(["--config", str(file)])
