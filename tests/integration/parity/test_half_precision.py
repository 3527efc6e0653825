"""16-bit checkpoints on a CPU: weights keep their exact values, sums are float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from engine.config import EngineConfig
from engine.runner.build import build_core
from engine.sampling_params import SamplingParams
from tests.integration.parity.checkpoints import CASES, make_model
from tests.integration.parity.driver import run
from tests.integration.parity.test_parity import generate, greedy, ragged_jobs

JOBS = ragged_jobs()[:8]


def rounded_model(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Saves a checkpoint of `dtype`; returns the same weights widened to float32.

    Read back from disk: converting the model in place would round its rope frequencies too.
    """
    make_model(CASES[0], folder).to(dtype).save_pretrained(folder)
    return CASES[0].model.from_pretrained(folder, dtype=torch.float32).eval()


def config_for(folder: Path, **options: str) -> EngineConfig:
    return EngineConfig(model=str(folder), skip_tokenizer_init=True, max_num_seqs=8, **options)


def test_float16_equals_generate_on_the_widened_weights(tmp_path: Path) -> None:
    reference = rounded_model(tmp_path, torch.float16)
    answers = run(build_core(config_for(tmp_path)), greedy(JOBS))
    assert [a.token_ids for a in answers] == [generate(reference, *job) for job in JOBS]


def test_bfloat16_with_float32_asked_for_equals_generate(tmp_path: Path) -> None:
    reference = rounded_model(tmp_path, torch.bfloat16)
    answers = run(build_core(config_for(tmp_path, dtype="float32")), greedy(JOBS))
    assert [a.token_ids for a in answers] == [generate(reference, *job) for job in JOBS]


def test_bfloat16_differs_only_by_the_rounding_of_its_cache(tmp_path: Path) -> None:
    reference = rounded_model(tmp_path, torch.bfloat16)
    prompt = JOBS[0][0]
    scoring = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
    rows = run(build_core(config_for(tmp_path)), [(prompt, scoring)])[0].prompt_logprobs[1:]
    with torch.inference_mode():
        scores = reference(torch.tensor([prompt])).logits[0].log_softmax(-1)
    found = [row[0].logprob for row in rows if row is not None]
    expected = [float(scores[i, token]) for i, token in enumerate(prompt[1:])]
    assert found == pytest.approx(expected, abs=0.25)
    assert found != pytest.approx(expected, abs=1e-6)  # the cache is bfloat16 indeed


def test_dummy_weights_need_only_a_config(tmp_path: Path) -> None:
    make_model(CASES[0], tmp_path)
    (tmp_path / "model.safetensors").unlink()
    seen: list[tuple[str, int, int]] = []
    core = build_core(
        config_for(tmp_path, load_format="dummy"),
        lambda phase, done, total: seen.append((phase, done, total)),
    )
    answer = run(core, greedy(JOBS[:1]))[0]
    assert len(answer.token_ids) == JOBS[0][1]
    assert {phase for phase, _, _ in seen} == {"weights", "kv cache"}
    assert seen[-1][1] == seen[-1][2]
