"""transformers `generate` on the same workloads: left-padded batches of 8, as people do without
an engine. Arguments as pagoda.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import workloads

BATCH = 8


@torch.inference_mode()
def run(model: PreTrainedModel, work: workloads.Work) -> None:
    for first in range(0, len(work), BATCH):
        group = work[first : first + BATCH]
        longest, steps = max(len(ids) for ids, _ in group), max(n for _, n in group)
        ids = torch.tensor([[0] * (longest - len(p)) + p for p, _ in group])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p, _ in group])
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=steps,
            min_new_tokens=steps,
            do_sample=False,
        )


def main() -> None:
    path, repeat, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto").eval()
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=None, pad_token_id=0)
    for name in names:
        work = workloads.named(name, model.config.vocab_size)
        run(model, [(ids, 2) for ids, _ in work[:BATCH]])
        times = []
        for _ in range(repeat):
            began = time.perf_counter()
            run(model, work)
            times.append(time.perf_counter() - began)
        print(json.dumps({"workload": name, "tokens": sum(n for _, n in work), "s": times}))


if __name__ == "__main__":
    main()
