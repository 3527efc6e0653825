"""vLLM for CPU on the same workloads, in its own environment. Arguments as pagoda.py."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1",
    VLLM_NO_USAGE_STATS="1",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_LOGGING_LEVEL="ERROR",
    OMP_NUM_THREADS="1",
    VLLM_CPU_OMP_THREADS_BIND="0",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_PLUGINS="",
)
sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import workloads


def main() -> None:
    from vllm import LLM, SamplingParams

    model, repeat, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    vocab = json.loads((Path(model) / "config.json").read_text())["vocab_size"]
    llm = LLM(
        model=model,
        dtype="bfloat16",
        max_model_len=512,
        max_num_seqs=64,
        enable_prefix_caching=False,
        enforce_eager=True,
    )
    for name in names:
        work = workloads.named(name, vocab)
        prompts = [{"prompt_token_ids": ids} for ids, _ in work]
        params = [
            SamplingParams(temperature=0, ignore_eos=True, max_tokens=n, detokenize=False)
            for _, n in work
        ]
        llm.generate(prompts[:2], params[:2], use_tqdm=False)
        times = []
        for _ in range(repeat):
            began = time.perf_counter()
            done = llm.generate(prompts, params, use_tqdm=False)
            times.append(time.perf_counter() - began)
            assert [len(d.outputs[0].token_ids) for d in done] == [n for _, n in work]
        print(json.dumps({"workload": name, "tokens": sum(n for _, n in work), "s": times}))


if __name__ == "__main__":
    main()
