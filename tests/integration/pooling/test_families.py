"""Every pooling family against transformers, on random weights and ragged batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.pooling.params import PoolingTask
from engine.runner.build import build_core
from tests.integration.pooling.checkpoints import CASES, Case, make_model, prompts
from tests.integration.pooling.driver import Vector, run

TOLERANCE = 1e-4


def build(folder: Path, **options: object) -> EngineCore:
    given = {"max_num_seqs": 8, "max_num_batched_tokens": 64, "num_threads": 1, "task": "auto"}
    return build_core(
        EngineConfig(model=str(folder), skip_tokenizer_init=True, **(given | options))  # type: ignore[arg-type]
    )


@torch.inference_mode()
def reference(model: PreTrainedModel, prompt: list[int], seconds: int = 0) -> Vector:
    """Raw numbers of one prompt: hidden states of a bare model, logits of any other."""
    ids = torch.tensor([prompt])
    extra = {}
    if seconds:
        extra["token_type_ids"] = (torch.arange(len(prompt)) >= seconds).long()[None]
    found = model(ids, **extra)
    out = found.logits if hasattr(found, "logits") else found.last_hidden_state
    values: Vector = out[0].numpy()
    return values


def task_of(case: Case) -> PoolingTask:
    kinds = {"Model": PoolingTask.TOKEN_EMBED, "ForTokenClassification": PoolingTask.TOKEN_CLASSIFY}
    return kinds.get(case.head, PoolingTask.CLASSIFY)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_family_computes_what_transformers_computes(case: Case, tmp_path: Path):
    model = make_model(case, tmp_path)
    core = build(tmp_path)
    found = run(core, prompts(), task_of(case), activate=False)
    for prompt, vector in zip(prompts(), found, strict=True):
        np.testing.assert_allclose(vector, reference(model, prompt), atol=TOLERANCE, rtol=0)
    assert core.counters.steps < len(prompts())  # several prompts shared a step
    assert core.counters.prompt_tokens == sum(map(len, prompts()))
    assert np.std([vector.ravel()[0] for vector in found]) > 0.01  # the prompts do matter


@pytest.mark.parametrize("name", ["bert-model", "modernbert-model", "qwen3-model"])
def test_a_vector_does_not_depend_on_its_batch(name: str, tmp_path: Path):
    make_model(next(c for c in CASES if c.name == name), tmp_path)
    core = build(tmp_path, max_num_batched_tokens=32)  # less than some of the prompts
    together = run(core, prompts(), PoolingTask.EMBED)
    alone = run(core, prompts(), PoolingTask.EMBED, together=False)
    for one, other in zip(together, alone, strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_second_text_of_a_pair_has_its_own_type(tmp_path: Path):
    model = make_model(next(c for c in CASES if c.name == "bert-reranker"), tmp_path)
    prompt = prompts()[3]
    found = run(build(tmp_path), [prompt], PoolingTask.CLASSIFY, seconds=[11], activate=False)[0]
    np.testing.assert_allclose(found, reference(model, prompt, 11), atol=TOLERANCE)
    assert abs(found - reference(model, prompt)).max() > 10 * TOLERANCE


def test_roberta_counts_no_padding_in_its_positions(tmp_path: Path):
    model = make_model(next(c for c in CASES if c.name == "roberta-model"), tmp_path)
    prompt = [2, 9, 1, 30, 1, 1, 8, 3]
    with torch.inference_mode():
        mask = torch.ones(1, len(prompt), dtype=torch.long)
        expected = model(torch.tensor([prompt]), attention_mask=mask).last_hidden_state[0]
    found = run(build(tmp_path), [prompt], PoolingTask.TOKEN_EMBED, activate=False)[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=TOLERANCE)
