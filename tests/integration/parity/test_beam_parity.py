"""Beam search of the whole engine equals transformers' on the same random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine import LLM, BeamSearchParams
from tests.integration.parity.checkpoints import CASES, make_model

PROMPTS = [[5, 9, 2], list(range(40, 90))]


def test_the_beams_are_those_of_transformers(tmp_path: Path) -> None:
    reference = make_model(CASES[0], tmp_path)
    with LLM(str(tmp_path), skip_tokenizer_init=True, dtype="float32", max_num_seqs=8) as llm:
        found = llm.beam_search(PROMPTS, BeamSearchParams(beam_width=4, max_tokens=12))
    for prompt, beams in zip(PROMPTS, found, strict=True):
        with torch.inference_mode():
            made = reference.generate(
                torch.tensor([prompt]), num_beams=4, num_return_sequences=4, max_new_tokens=12,
                do_sample=False, early_stopping="never", return_dict_in_generate=True,
                output_scores=True, pad_token_id=0,
            )  # fmt: skip
        assert [beam.tokens for beam in beams.sequences] == made.sequences.tolist()
        scores = [beam.cum_logprob / 12 for beam in beams.sequences]
        assert scores == pytest.approx(made.sequences_scores.tolist(), abs=1e-4)
