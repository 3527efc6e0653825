"""Adapters on a GPU: `python -m benchmarks.offline_lora [SHAPE] [--profile]`.

128 requests of 512 in and 128 out, best of two runs, one JSON line each: without LoRA, base rows on
an engine with LoRA, 8 adapters of rank 16 on all linears, the same with base rows between them, and
64 adapters over 16 slots, of which 128 requests keep only 32 rows running. Then a crowd: 512
requests as base rows, and over the 64 adapters. `ratio` is to the first line of as many
requests.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.gpu_workloads import SHAPES, Work, workload, write_config
from benchmarks.make_adapters import make_adapters
from benchmarks.offline import Loras, kernels_of, measure, open_model, say
from engine import LoRARequest

RANK, FEW, MANY, SLOTS, CROWD = 16, 8, 64, 16, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default="llama-8b")
    parser.add_argument("--few", action="store_true", help="leave the 64 adapters out")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    work, alone = workload("lora"), dict[int, float]()

    def row(name: str, loras: Loras, requests: Work = work) -> None:
        found = measure(llm, requests, loras)
        ratio = found["out_tok_s"] / alone.setdefault(len(requests), found["out_tok_s"])
        say(engine="pagoda", shape=asked.shape, workload=name, ratio=round(ratio, 3), **found)

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
            row("crowd: none", [None], work * CROWD)
            row("crowd: 64 adapters, 16 slots", loras, work * CROWD)


if __name__ == "__main__":
    main()
