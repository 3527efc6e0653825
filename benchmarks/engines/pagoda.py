"""Our offline class on the CPU workloads. usage: pagoda.py MODEL_DIR REPEAT WORKLOAD…"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import workloads
from engine import LLM, SamplingParams


def main() -> None:
    model, repeat, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    vocab = json.loads((Path(model) / "config.json").read_text())["vocab_size"]
    llm = LLM(model, enable_prefix_caching=False, max_model_len=512, num_threads=1)
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
