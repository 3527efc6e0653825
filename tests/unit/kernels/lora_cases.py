"""LoRA batches and their check against float64 references, for any device.

Slots are filled with NaN past their true ranks and h starts undefined, so that reading padding, or
another slot's weights, shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engine.kernels.add_norm import add_norm_ref
from engine.kernels.lora_expand import lora_expand, lora_expand_ref, output_blocks
from engine.kernels.lora_gated import lora_gated, lora_gated_ref
from engine.kernels.lora_norm import lora_norm
from engine.kernels.lora_plan import BASE, TILE, LoraWork, fill_work, make_tiles, make_work
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
    fill_work(work, make_tiles(np.array(case.slots, np.int32), case.tile, BASE))
    return work


class Draw:
    """Random tensors of a case on its device, and the same with zeros for NaN in float64."""

    def __init__(self, case: Case, device: torch.device) -> None:
        self.case, self.device = case, device
        self._generator = torch.Generator(device).manual_seed(len(case.slots) + case.num_in)

    def random(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        drawn = torch.randn(*shape, generator=self._generator, device=self.device)
        return (drawn * scale).to(self.case.dtype)

    def narrow(self, num_in: int, ranks: list[tuple[int, ...]]) -> torch.Tensor:
        """A [slots, n·R, K], NaN past the ranks of each slice."""
        bucket = self.case.bucket
        a = self.random(len(ranks), len(ranks[0]) * bucket, num_in, scale=num_in**-0.5)
        for slot, own in enumerate(ranks):
            for s, rank in enumerate(own):
                a[slot, s * bucket + rank : (s + 1) * bucket] = NAN
        return a

    def wide(self, widths: tuple[int, ...], ranks: list[tuple[int, ...]]) -> torch.Tensor:
        """B [slots, R, N], NaN past the ranks of each slice."""
        b = self.random(len(ranks), self.case.bucket, sum(widths), scale=self.case.bucket**-0.5)
        for slot, own in enumerate(ranks):
            for s, rank in enumerate(own):
                start = sum(widths[:s])
                b[slot, rank:, start : start + widths[s]] = NAN
        return b

    def ranks(self, ranks: list[tuple[int, ...]]) -> torch.Tensor:
        return torch.tensor(ranks, dtype=torch.int32, device=self.device)


def clean(weights: torch.Tensor) -> torch.Tensor:
    return weights.double().nan_to_num(nan=0.0)


def check(case: Case, device: torch.device) -> None:
    """Shrink and expand of one merged linear."""
    draw, ranks = Draw(case, device), list(case.ranks)
    a, b = draw.narrow(case.num_in, ranks), draw.wide(case.widths, ranks)
    x, y = draw.random(len(case.slots), case.num_in), draw.random(len(case.slots), sum(case.widths))
    work, out = plan_of(case, device), y.clone()
    h = lora_shrink(x, a, draw.ranks(ranks), work)
    lora_expand(out, h, b, draw.ranks(ranks), output_blocks(case.widths, device), work)

    expected = y.double()
    wide = lora_shrink_ref(x.double(), clean(a), work)
    lora_expand_ref(expected, wide, clean(b), case.widths, work)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=TOLERANCE[case.dtype])
    base = torch.tensor(case.slots, device=device) < 0
    assert torch.equal(out[base], y[base]), "a base row was changed"


def check_gated(case: Case, device: torch.device) -> None:
    """`case.widths` are gate and up."""
    draw, ranks = Draw(case, device), list(case.ranks)
    a, b = draw.narrow(case.num_in, ranks), draw.wide(case.widths, ranks)
    x, y = draw.random(len(case.slots), case.num_in), draw.random(len(case.slots), sum(case.widths))
    work, out = plan_of(case, device), torch.full_like(y[:, : case.widths[0]], NAN)
    h = lora_shrink(x, a, draw.ranks(ranks), work)
    lora_gated(out, y, h, b, draw.ranks(ranks), work)

    wide = lora_shrink_ref(x.double(), clean(a), work)
    expected = lora_gated_ref(y.double(), wide, clean(b), work)
    atol = TOLERANCE[case.dtype]
    torch.testing.assert_close(out.double(), expected, rtol=atol, atol=atol)


def check_norm(case: Case, device: torch.device) -> None:
    """`case.widths` is that of one linear."""
    draw, ranks, eps = Draw(case, device), list(case.ranks), 1e-5
    a, b = draw.narrow(case.num_in, ranks), draw.wide(case.widths, ranks)
    x, width = draw.random(len(case.slots), case.num_in), case.widths[0]
    y, residual = (draw.random(len(case.slots), width) for _ in range(2))
    weight = draw.random(width)
    work, out, carried = plan_of(case, device), torch.full_like(y, NAN), residual.clone()
    h = lora_shrink(x, a, draw.ranks(ranks), work)
    lora_norm(out, y, carried, weight, eps, h, b, draw.ranks(ranks), work)

    wide, expected = y.double(), residual.double()
    narrow = lora_shrink_ref(x.double(), clean(a), work)
    lora_expand_ref(wide, narrow, clean(b), case.widths, work)
    normed = add_norm_ref(wide, expected, weight.double(), eps)
    atol = TOLERANCE[case.dtype]
    torch.testing.assert_close(carried.double(), expected, rtol=atol, atol=atol)
    torch.testing.assert_close(out.double(), normed, rtol=atol, atol=atol)
