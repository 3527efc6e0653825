"""config.json of public models → spec, or a refusal that names what is not supported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineStartError
from engine.models.loader import tensor_shapes
from engine.models.registry import parse_spec, read_eos_ids, read_spec

CONFIGS = Path(__file__).parent / "configs"
REFUSED = {
    "qwen3-30b-a3b": "Qwen3MoeForCausalLM",
    "mixtral-8x7b": "MixtralForCausalLM",
    "gemma-2-2b": "Gemma2ForCausalLM",
    "phi-3.5-mini": "Phi3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "deepseek-v3": "DeepseekV3ForCausalLM",
    "llama-3.1-8b-awq": "awq",
}
# millions of parameters as their authors publish them
SIZES = {
    "llama-2-7b": 6738,
    "llama-3-8b": 8030,
    "llama-3.1-70b": 70554,
    "llama-3.2-1b": 1236,
    "tinyllama-1.1b-chat": 1100,
    "smollm2-135m": 135,
    "mistral-7b-v0.1": 7242,
    "mistral-nemo-12b": 12248,
    "qwen2.5-0.5b-instruct": 494,
    "qwen2.5-7b-instruct": 7616,
    "qwen3-0.6b": 596,
    "qwen3-8b": 8191,
}


def load(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text())
    return config


NAMES = sorted(path.stem for path in CONFIGS.glob("*.json"))


def test_there_are_thirty_models() -> None:
    assert len(NAMES) >= 30


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_supported_model_parses(name: str) -> None:
    config, spec = load(name), parse_spec(load(name))
    assert spec.hidden == config["hidden_size"]
    assert spec.num_layers == config["num_hidden_layers"]
    assert spec.num_heads % spec.num_kv_heads == 0
    assert spec.eos_ids


@pytest.mark.parametrize(("name", "word"), REFUSED.items())
def test_other_model_is_refused_by_name(name: str, word: str) -> None:
    with pytest.raises(EngineStartError, match=word):
        parse_spec(load(name))


@pytest.mark.parametrize(("name", "millions"), SIZES.items())
def test_tensor_shapes_add_up_to_the_published_size(name: str, millions: int) -> None:
    count = 0
    for shape in tensor_shapes(parse_spec(load(name))).values():
        size = 1
        for length in shape:
            size *= length
        count += size
    assert count / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(
    ("name", "kind", "max_len"),
    [
        ("llama-2-7b", "default", 4096),
        ("llama-3.1-8b-instruct", "llama3", 131072),
        ("vicuna-7b-16k", "linear", 16384),
        ("openbuddy-dynamic", "dynamic", 4096),
        ("yarn-llama-2-7b-64k", "yarn", 65536),
        ("qwen2.5-7b-instruct-yarn", "yarn", 131072),
        ("qwen3-0.6b-base", "default", 32768),
    ],
)
def test_rope_kind_and_reach(name: str, kind: str, max_len: int) -> None:
    spec = parse_spec(load(name))
    assert (spec.rope.kind, spec.max_len) == (kind, max_len)


def test_families_differ_where_they_should() -> None:
    llama, mistral = parse_spec(load("llama-3-8b")), parse_spec(load("mistral-7b-v0.1"))
    qwen2, qwen3 = parse_spec(load("qwen2-0.5b")), parse_spec(load("qwen3-8b"))
    assert (llama.qkv_bias, llama.qk_norm, llama.windows) == (False, False, ())
    assert mistral.windows == (4096,) * 32
    assert (qwen2.qkv_bias, qwen2.o_bias, qwen2.tied) == (True, False, True)
    assert (qwen3.qkv_bias, qwen3.qk_norm, qwen3.head_dim) == (False, True, 128)
    assert parse_spec(load("mistral-7b-instruct-v0.3")).windows == ()


def test_several_eos_ids_are_all_kept(tmp_path: Path) -> None:
    assert parse_spec(load("llama-3.1-8b-instruct")).eos_ids == {128001, 128008, 128009}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert read_eos_ids(tmp_path) == {7, 9}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_key_value_heads": 5}, "key/value heads"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"torch_dtype": "int8"}, "int8"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "longrope"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "rope_parameters"),
        ({"num_attention_heads": 30, "num_key_value_heads": 30}, "multiple"),
        ({"architectures": []}, "none named"),
        ({"head_dim": 65}, "even"),
        ({"num_key_value_heads": "eight"}, "num_key_value_heads"),
        ({"num_key_value_heads": -8}, "num_key_value_heads"),
        ({"max_position_embeddings": 1e4}, "max_position_embeddings"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"rope_theta": "big"}, "rope_theta"),
        ({"eos_token_id": "</s>"}, "eos_token_id"),
        ({"quantization_config": "gptq"}, "quantized"),
    ],
)
def test_what_we_cannot_compute_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(EngineStartError, match=word):
        parse_spec(load("llama-3-8b") | changes)


@pytest.mark.parametrize(
    ("name", "kv_heads", "max_len", "eos"),
    [
        ("llama-3-8b", 32, 2048, {2}),
        ("mistral-7b-v0.1", 8, 131072, {2}),
        ("qwen2.5-7b-instruct", 32, 32768, set()),
        ("qwen3-8b", 32, 32768, set()),
    ],
)
def test_what_a_config_leaves_out_is_its_familys_default(
    name: str, kv_heads: int, max_len: int, eos: set[int]
) -> None:
    left_out = ("num_key_value_heads", "max_position_embeddings", "eos_token_id", "rope_scaling")
    config = {key: value for key, value in load(name).items() if key not in left_out}
    spec = parse_spec(config | {"num_attention_heads": 32, "hidden_size": 4096})
    assert (spec.num_kv_heads, spec.max_len, spec.eos_ids) == (kv_heads, max_len, eos)


def test_null_key_value_heads_mean_one_for_each_head() -> None:
    spec = parse_spec(load("mistral-7b-v0.1") | {"num_key_value_heads": None})
    assert spec.num_kv_heads == spec.num_heads


def test_layer_types_of_an_unknown_kind_are_refused() -> None:
    config = load("qwen3-8b") | {
        "use_sliding_window": True,
        "sliding_window": 64,
        "layer_types": ["linear_attention"] * 36,
    }
    with pytest.raises(EngineStartError, match="layer_types"):
        parse_spec(config)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_missing_or_broken_config_file_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(EngineStartError, match=r"config\.json"):
        read_spec(tmp_path)


def test_overrides_win_over_the_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(load("llama-2-7b")))
    assert read_spec(tmp_path, '{"max_position_embeddings": 77}').max_len == 77
    for text in ("{", "[1]"):
        with pytest.raises(EngineStartError, match="hf_overrides"):
            read_spec(tmp_path, text)
