"""LoRA batches and their check against float64 references, for any device.

Slots are filled with NaN past their true ranks and h starts undefined, so that reading padding, or
another slot's weights, shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engine.kernels.lora_expand import lora_expand, lora_expand_ref, output_blocks
from engine.kernels.lora_plan import TILE, LoraWork, fill_work, make_tiles, make_work
from engine.kernels.lora_shrink import lora_shrink, lora_shrink_ref

TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}  # absolute
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Token t uses slots[t] (-1: base); slot s has ranks[s], one a slice (0: left alone)."""

    slots: tuple[int, ...]
    ranks: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]  # outputs of each slice
    num_in: int
    bucket: int  # rank that the slots are made for
    tile: int = TILE
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        sizes = "+".join(map(str, self.widths))
        return f"{len(self.slots)}tokens-{self.num_in}to{sizes}-bucket{self.bucket}-{kind}"


def plan_of(case: Case, device: torch.device) -> LoraWork:
    work = make_work(len(case.slots) + 3, len(case.ranks), device, case.tile)
    fill_work(work, make_tiles(np.array(case.slots, np.int32), case.tile))
    return work


def check(case: Case, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(len(case.slots) + case.num_in)

    def random(*shape: int, scale: float) -> torch.Tensor:
        return (torch.randn(*shape, generator=generator) * scale).to(case.dtype)

    slices, bucket, width = len(case.widths), case.bucket, sum(case.widths)
    a = random(len(case.ranks), slices * bucket, case.num_in, scale=case.num_in**-0.5)
    b = random(len(case.ranks), width, bucket, scale=bucket**-0.5)
    clean_a, clean_b = a.double(), b.double()
    ends = np.cumsum(case.widths)
    for slot, ranks in enumerate(case.ranks):
        for s, rank in enumerate(ranks):
            rows = slice(s * bucket + rank, (s + 1) * bucket)
            outputs = slice(int(ends[s]) - case.widths[s], int(ends[s]))
            a[slot, rows], clean_a[slot, rows] = NAN, 0.0
            b[slot, outputs, rank:], clean_b[slot, outputs, rank:] = NAN, 0.0
    x = random(len(case.slots), case.num_in, scale=1.0)
    y = random(len(case.slots), width, scale=1.0)
    work = plan_of(case, device)
    ranks = torch.tensor(case.ranks, dtype=torch.int32, device=device)
    out = y.clone().to(device)
    h = lora_shrink(x.to(device), a.to(device), ranks, work)
    lora_expand(out, h, b.to(device), ranks, output_blocks(case.widths, device), work)

    host = plan_of(case, torch.device("cpu"))
    expected = y.double()
    lora_expand_ref(
        expected, lora_shrink_ref(x.double(), clean_a, host), clean_b, case.widths, host
    )
    torch.testing.assert_close(out.cpu().double(), expected, rtol=0, atol=TOLERANCE[case.dtype])
    base = torch.tensor(case.slots) < 0
    assert torch.equal(out.cpu()[base], y[base]), "a base row was changed"
