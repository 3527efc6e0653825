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


def test_a_typing_error_names_its_nearest() -> None:
    with pytest.raises(SettingError, match="Did you mean --max-model-len"):
        parse_serve(["--max-modl-len", "5"])


def test_switches_take_a_value_too() -> None:
    given = ["--enable-prefix-caching=False", "--trust-remote-code", "org/model"]
    options = parse_serve([*given, "--enable_chunked_prefill=true"])
    assert (options.model, options.engine_options) == (
        "org/model",
        {"enable_prefix_caching": False},
    )
    assert [note.split()[0] for note in options.notes] == [
        "--trust-remote-code",
        "--enable-chunked-prefill",
    ]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--tensor-parallel-size", "4"], "more than one device"),
        (["--quantization", "awq"], "quantization"),
        (["--no-enable-chunked-prefill"], "always computed in chunks"),
        (["--middleware", "a.b"], "Python code"),
        (["--root-path", "/api"], "--public-url"),
        (["--override-generation-config", '{"top_p": 7}'], "override_generation_config"),
        (["--data-parallel-size", "0"], "outside 1"),
        (["--disable-fastapi-docs=maybe"], "--disable-fastapi-docs"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_reason(argv: list[str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        parse_serve(argv)


def test_flags_of_other_servers_become_ours() -> None:
    typed = (
        "--model=m --uvicorn-log-level info --dtype half --swap-space 4 --max-num-queued-reqs 10"
    )
    typed += " --disable-fastapi-docs --download-dir /d --generation-config vllm"
    typed += " --data-parallel-size 2 --tokenizer-mode auto"
    options = parse_serve(typed.split())
    assert options.environment == {
        "PAGODA_LOG_LEVEL": "INFO",
        "PAGODA_QUEUE_ENTRIES": "10",
        "PAGODA_DISABLE_DOCS": "true",
        "HF_HUB_CACHE": "/d",
    }
    assert options.engine_options == {"dtype": "float16", "generation_config": "none"}
    assert options.replicas == 2
    assert options.notes == (
        "--uvicorn-log-level is --log-level today.",
        "--model X is MODEL today.",
        "--swap-space has no effect: preempted requests are computed again, not swapped.",
        "--tokenizer-mode has no effect: tokenizers are read from tokenizer.json.",
    )


def test_json_of_a_file_reaches_the_engine(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    lines = ['host: "127.0.0.1"', "port: 6379", 'uvicorn-log-level: "info"', "quantization: null"]
    lines.append("override-generation-config: {temperature: 0.5}")
    file.write_text("\n".join(lines))
    options = parse_serve(["SOME_MODEL", "--config", str(file)])
    assert options.engine_options == {"override_generation_config": '{"temperature": 0.5}'}
    assert options.environment["PAGODA_PORT"] == "6379"


def test_adapters_are_named_by_pairs_or_json(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    options = parse_serve(
        [
            "--lora-modules",
            f"one={tmp_path}/a",
            '{"name": "two", "path": "o/n", "base_model_name": "m"}',
        ]
    )
    assert options.lora_modules == (
        {"name": "one", "path": str(tmp_path / "a")},
        {"name": "two", "path": "o/n", "base_model_name": "m"},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pirate", "name=folder"),
        ("=x", "name=folder"),
        ("x=", "name=folder"),
        ("{", "not JSON"),
        ('{"name": "x"}', "name and path"),
        ('{"name": "x", "path": 7}', "name and path"),
        ('{"name": "x", "path": "y", "rank": "8"}', "'rank'"),
    ],
)
def test_wrong_adapter_is_named_with_what_is_right(text: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        parse_serve(["--lora-modules", text])
