"""Our offline class on the GPU workloads: `python -m benchmarks.offline SHAPE WORKLOAD…`.

One JSON line a workload, best of two runs, prefix cache off, random bfloat16 weights, temperature
0.6. Each line also says what was run: prefix hits, steps replayed from graphs and steps launched
without, and the host's time a step: all of a step that does not wait for the device, its median
and, with what follows on a step's tokens, its mean. `--profile` adds the kernels of a few steps by
share of time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_workloads import SHAPES, Work, workload, write_config
from engine import LLM, LoRARequest, SamplingParams
from engine.runner.cuda_runner import CudaRunner

MAX_LEN, SEQS, MEMORY = 20480, 256, 0.85
Loras = Sequence[LoRARequest | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("workloads", nargs="+")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        llm = open_model(write_config(asked.shape, Path(folder)))
    say(engine="pagoda", shape=asked.shape, startup_s=round(time.perf_counter() - began, 1))
    for name in asked.workloads:
        work = workload(name)
        say(engine="pagoda", shape=asked.shape, workload=name, **measure(llm, work))
        if asked.profile:
            print(kernels_of(llm, work), flush=True)


def open_model(folder: Path, **options: Any) -> LLM:
    return LLM(
        str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="bfloat16",
        device="cuda",
        max_model_len=MAX_LEN,
        max_num_seqs=SEQS,
        enable_prefix_caching=False,
        **({"gpu_memory_utilization": MEMORY} | options),
    )


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


@dataclass(slots=True)
class HostClock:
    """Seconds the host worked in each step, and seconds it waited for the device in all."""

    steps: list[float] = field(default_factory=list)
    waited: float = 0.0


@contextmanager
def host_clock(llm: LLM) -> Iterator[HostClock]:
    """Counts while it is open: the engine waits for its device in events only."""
    clock, wait, step = HostClock(), torch.cuda.Event.synchronize, llm.core.step

    def waiting(event: torch.cuda.Event) -> None:
        began = time.perf_counter()
        wait(event)
        clock.waited += time.perf_counter() - began

    def stepping() -> Any:
        began, waited = time.perf_counter(), clock.waited
        deltas = step()
        clock.steps.append(time.perf_counter() - began - (clock.waited - waited))
        return deltas

    with (
        mock.patch.object(torch.cuda.Event, "synchronize", waiting),
        mock.patch.object(llm.core, "step", stepping),
    ):
        yield clock


def measure(llm: LLM, work: Work, loras: Loras = (None,)) -> dict[str, Any]:
    runner = llm.core.runner
    assert isinstance(runner, CudaRunner)
    best, facts = float("inf"), {}
    for _ in range(2):
        eager, replayed, steps = runner.eager_steps, runner.replayed_steps, llm.core.counters.steps
        with host_clock(llm) as clock:
            began = time.perf_counter()
            run(llm, work, loras)
            spent = time.perf_counter() - began
        if spent < best:
            best = spent
            facts = {
                "steps": llm.core.counters.steps - steps,
                "replayed": runner.replayed_steps - replayed,
                "eager": runner.eager_steps - eager,
                "host_ms_p50": round(1e3 * median(clock.steps), 3),
                "host_ms_mean": round(1e3 * (spent - clock.waited) / len(clock.steps), 3),
            }
    tokens_in, tokens_out = sum(len(ids) for ids, _ in work), sum(limit for _, limit in work)
    return {
        "seconds": round(best, 3),
        "in_tok": tokens_in,
        "out_tok": tokens_out,
        "out_tok_s": round(tokens_out / best, 1),
        "total_tok_s": round((tokens_in + tokens_out) / best, 1),
        "prefix_hits": llm.core.counters.prefix_hit_tokens,
        **facts,
    }


def run(llm: LLM, work: Work, loras: Loras = (None,), most: int = 1 << 30) -> None:
    """All requests at once; request i uses loras[i mod their number]."""
    params = [
        SamplingParams(temperature=0.6, ignore_eos=True, max_tokens=min(n, most), detokenize=False)
        for _, n in work
    ]
    spread = [loras[i % len(loras)] for i in range(len(work))]
    prompts = [{"prompt_token_ids": ids} for ids, _ in work]
    done = llm.generate(prompts, params, use_tqdm=False, lora_request=spread)
    for output, wanted in zip(done, params, strict=True):
        assert len(output.outputs[0].token_ids) == wanted.max_tokens


def kernels_of(llm: LLM, work: Work, loras: Loras = (None,)) -> str:
    """Time on the device by kernel, over a run of at most 24 tokens a request."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        run(llm, work, loras, most=24)
        torch.cuda.synchronize()
    spent: dict[str, list[float]] = {}
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            spent.setdefault(event.name[:70], []).append(event.device_time)
    total = sum(map(sum, spent.values()))
    lines = [f"  {'kernel':<70} {'share':>6} {'calls':>6} {'mean us':>8}"]
    for name, times in sorted(spent.items(), key=lambda item: -sum(item[1]))[:16]:
        mean = sum(times) / len(times)
        lines.append(f"  {name:<70} {sum(times) / total:>6.1%} {len(times):>6} {mean:>8.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
