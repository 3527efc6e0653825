"""What a folder's files say about pooling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineStartError, InvalidRequest
from engine.pooling.card import PoolingCard, read_card
from engine.pooling.params import PoolingParams, PoolingTask

TRANSFORMER = {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
DENSE = {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
NORMALIZE = {"idx": 3, "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}


def card(
    folder: Path, architecture: str, files: dict[str, Any] | None = None, *,
    config: dict[str, Any] | None = None, **options: Any,
) -> PoolingCard | None:  # fmt: skip
    own = {"architectures": [architecture], "hidden_size": 8, **(config or {})}
    for name, content in {"config.json": own, **(files or {})}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return read_card(folder, **options)


def test_a_model_that_generates_has_no_card(tmp_path: Path):
    assert card(tmp_path, "Qwen3ForCausalLM") is None


@pytest.mark.parametrize(
    ("architecture", "options", "task", "pooling"),
    [
        ("BertModel", {}, "embed", "cls"),
        ("XLMRobertaForMaskedLM", {}, "embed", "cls"),
        ("Qwen3Model", {}, "embed", "last"),
        ("LlamaForCausalLM", {"task": "embed"}, "embed", "last"),
        ("ModernBertForSequenceClassification", {"task": "score"}, "classify", "cls"),
        ("Qwen2ForRewardModel", {"task": "reward"}, "classify", "last"),
        ("RobertaForTokenClassification", {}, "token_classify", "cls"),
    ],
)
def test_the_architecture_says_what_a_model_is_for(
    tmp_path: Path, architecture: str, options: dict[str, str], task: str, pooling: str
):
    found = card(tmp_path, architecture, **options)
    assert found is not None
    assert (found.task, found.pooling) == (task, pooling)


def test_sentence_transformers_files_win_over_the_family(tmp_path: Path):
    found = card(
        tmp_path,
        "Qwen2ForCausalLM",
        {
            "modules.json": [TRANSFORMER, POOLING, DENSE],
            "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
            "2_Dense/config.json": {
                "in_features": 8, "out_features": 3, "bias": False,
                "activation_function": "torch.nn.modules.activation.Tanh",
            },
            "sentence_bert_config.json": {"max_seq_length": 77, "do_lower_case": True},
        },
    )  # fmt: skip
    assert found is not None
    assert (found.pooling, found.normalize, found.max_len) == ("mean", False, 77)
    assert (found.dimensions, found.dense[0].activation) == (3, "tanh")
    assert found.cased("ABC") == "abc"
    assert found.width(PoolingTask.TOKEN_EMBED) == 8


def test_normalising_follows_the_module(tmp_path: Path):
    files = {
        "modules.json": [TRANSFORMER, POOLING, NORMALIZE],
        "1_Pooling/config.json": {"pooling_mode": "lasttoken"},
    }
    found = card(tmp_path, "BertModel", files)
    assert found is not None
    assert (found.pooling, found.normalize) == ("last", True)


def test_the_option_wins_over_the_files(tmp_path: Path):
    override = '{"pooling_type": "MEAN", "normalize": false}'
    found = card(tmp_path, "BertModel", override_pooler_config=override)
    assert found is not None
    assert (found.pooling, found.normalize) == ("mean", False)


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        ({"modules.json": [TRANSFORMER, {"path": "x", "type": "a.b.LSTM"}]}, {}, "a.b.LSTM"),
        ({"modules.json": [TRANSFORMER, DENSE | {"path": "../up"}]}, {}, "outside"),
        ({"modules.json": [{"idx": 0}]}, {}, "cannot be read"),
        (
            {"modules.json": [TRANSFORMER, POOLING],
             "1_Pooling/config.json": {"pooling_mode_max_tokens": True}},
            {}, "pooling_mode_max_tokens",
        ),
        ({}, {"override_pooler_config": '{"pooling_type": "MAX"}'}, "MAX"),
        ({}, {"override_pooler_config": '{"pool": 1}'}, "JSON object"),
        ({}, {"task": "generate"}, "for embed"),
        ({}, {"task": "classify"}, "for embed"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    tmp_path: Path, files: dict[str, Any], options: dict[str, str], words: str
):
    with pytest.raises(EngineStartError, match=words):
        card(tmp_path, "BertModel", files, **options)


@pytest.mark.parametrize(
    ("config", "options", "activation"),
    [
        ({"num_labels": 1}, {}, "sigmoid"),
        ({"num_labels": 3}, {}, "softmax"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, {}, "sigmoid"),
        ({"num_labels": 1, "problem_type": "regression"}, {}, "identity"),
        ({"num_labels": 1}, {"task": "reward"}, "identity"),
        (
            {"num_labels": 1,
             "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
            {}, "identity",
        ),
    ],
)  # fmt: skip
def test_scores_are_activated_as_the_files_say(
    tmp_path: Path, config: dict[str, Any], options: dict[str, str], activation: str
):
    found = card(tmp_path, "BertForSequenceClassification", config=config, **options)
    assert found is not None
    assert found.activation == activation


@pytest.mark.parametrize(
    ("config", "dimensions", "fits"),
    [
        ({}, 4, False),
        ({"is_matryoshka": True}, 4, True),
        ({"is_matryoshka": True}, 9, False),
        ({"matryoshka_dimensions": [2, 4]}, 4, True),
        ({"matryoshka_dimensions": [2, 4]}, 3, False),
    ],
)
def test_dimensions_are_for_matryoshka_models(
    tmp_path: Path, config: dict[str, Any], dimensions: int, fits: bool
):
    found = card(tmp_path, "BertModel", config=config)
    assert found is not None
    params = PoolingParams(dimensions=dimensions)
    if fits:
        found.check(params)
    else:
        with pytest.raises(InvalidRequest, match="dimensions"):
            found.check(params)
