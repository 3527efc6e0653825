"""transformers' continuous batching on the same workloads. Arguments as pagoda.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import workloads


def run(manager: Any, work: workloads.Work) -> None:
    for ids, tokens in work:
        manager.add_request(ids, max_new_tokens=tokens, eos_token_id=-1)
    done = made = 0
    while done < len(work):
        result = manager.get_result(timeout=1)
        if result is None and not manager.is_running():
            raise SystemExit("the continuous batching manager stopped")
        if result is not None and result.is_finished():
            done, made = done + 1, made + len(result.generated_tokens)
    assert made == sum(tokens for _, tokens in work)


def main() -> None:
    path, repeat, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto").eval()
    batching = ContinuousBatchingConfig(
        allow_block_sharing=False,  # repeats must not hit its prefix cache
        use_cuda_graph=False,
        page_size=32,
        num_blocks=96,
        max_batch_tokens=256,
        max_requests_per_batch=8,
    )
    greedy = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0, max_new_tokens=128)
    with model.continuous_batching_context_manager(
        generation_config=greedy, continuous_batching_config=batching, block=True, timeout=10
    ) as manager:
        for name in names:
            work = workloads.named(name, model.config.vocab_size)
            run(manager, work[:4])
            times = []
            for _ in range(repeat):
                began = time.perf_counter()
                run(manager, work)
                times.append(time.perf_counter() - began)
            print(json.dumps({"workload": name, "tokens": sum(n for _, n in work), "s": times}))


if __name__ == "__main__":
    main()
