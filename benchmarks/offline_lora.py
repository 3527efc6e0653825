"""Adapters on a GPU: `python -m benchmarks.offline_lora [SHAPE] [--profile]`.

128 requests of 512 in and 128 out, best of two runs, one JSON line each: without LoRA, base rows on
an engine with LoRA, 8 adapters of rank 16 on all linears, the same with base rows between them, and
64 adapters over 16 slots. `ratio` is to the first line.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.gpu_workloads import SHAPES, workload, write_config
from benchmarks.make_adapters import make_adapters
from benchmarks.offline import Loras, kernels_of, measure, open_model, say
from engine import LoRARequest

RANK, FEW, MANY, SLOTS = 16, 8, 64, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default="llama-8b")
    parser.add_argument("--few", action="store_true", help="leave the 64 adapters out")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    work, alone = workload("lora"), 0.0

    def row(name: str, loras: Loras) -> None:
        nonlocal alone
        found = measure(llm, work, loras)
        alone = alone or found["out_tok_s"]
        ratio = round(found["out_tok_s"] / alone, 3)
        say(engine="pagoda", shape=asked.shape, workload=name, ratio=ratio, **found)

    with tempfile.TemporaryDirectory() as place:
        folder = write_config(asked.shape, Path(place) / "model")
        with open_model(folder, enable_lora=False) as llm:
            row("lora: none, engine without", [None])
        count = FEW if asked.few else MANY
        paths = make_adapters(folder, Path(place), count, RANK, torch.bfloat16)
        loras = [LoRARequest(path.name, i, str(path)) for i, path in enumerate(paths, 1)]
        with open_model(folder, max_loras=FEW) as llm:
            row("lora: none", [None])
            row("lora: 8 adapters", loras[:FEW])
            row("lora: 8 adapters and base", [*loras[:FEW], None])
            if asked.profile:
                print(kernels_of(llm, work, loras[:FEW]), flush=True)
        if asked.few:
            return
        with open_model(folder, max_loras=SLOTS) as llm:
            row("lora: 64 adapters, 16 slots", loras)


if __name__ == "__main__":
    main()
