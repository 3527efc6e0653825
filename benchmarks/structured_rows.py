"""What a grammar costs: JSON at batch 32 on the demo model, beside the same tokens without one."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row

ROOT = Path(__file__).parents[1]
BATCH, TOKENS = 32, 128
FORM = {  # never complete within TOKENS, so that both runs make the same number
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
        "required": ["id", "name"],
    },
    "minItems": 100,
}


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    """In a process of its own, with and without by turns; the first pair warms up."""
    command = [sys.executable, "-m", "benchmarks.structured_rows", str(repeat)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, check=True, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1])
    speeds = {name: BATCH * TOKENS / statistics.median(found[name]) for name in ("with", "without")}
    yield Row(
        row="structured-json-32",
        unit="output tokens/s",
        ours=speeds["with"],
        control="no grammar",
        control_value=speeds["without"],
        goal=0.95,
        detail=found,
    )


def measure(repeat: int) -> dict[str, list[float] | float]:
    """Seconds of each run by kind, and the time of one step's masks and of following its tokens."""
    from engine import LLM, SamplingParams
    from engine.runner.grammar_rows import GrammarRows
    from engine.sampling_params import StructuredOutputs

    llm = LLM(str(ROOT / "demo" / "pagoda-demo"), max_model_len=512, max_num_seqs=BATCH,
              enable_prefix_caching=False, num_threads=1)  # fmt: skip
    prompts = [{"prompt_token_ids": [100 + i] * 16} for i in range(BATCH)]
    times: dict[str, list[float]] = {"with": [], "without": []}

    def run(form: StructuredOutputs | None) -> float:
        params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True,
                                detokenize=False, structured_outputs=form)  # fmt: skip
        began = time.perf_counter()
        done = llm.generate(prompts, params, use_tqdm=False)
        assert all(len(output.outputs[0].token_ids) == TOKENS for output in done)
        return time.perf_counter() - began

    for _ in range(repeat + 1):
        times["with"].append(run(StructuredOutputs(json=FORM)))
        times["without"].append(run(None))
    spent = {name: [0.0, 0.0] for name in ("_fill", "apply", "accept")}
    for name, total in spent.items():
        setattr(GrammarRows, name, _timed(getattr(GrammarRows, name), total))
    run(StructuredOutputs(json=FORM))
    llm.shutdown()
    per_step = {f"{name.strip('_')}_us": t / n * 1e6 for name, (t, n) in spent.items()}
    return {name: found[1:] for name, found in times.items()} | per_step


def _timed(method, total):  # type: ignore[no-untyped-def]
    def timed(*args):  # type: ignore[no-untyped-def]
        began = time.thread_time()
        found = method(*args)
        total[0] += time.thread_time() - began
        total[1] += 1
        return found

    return timed


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
