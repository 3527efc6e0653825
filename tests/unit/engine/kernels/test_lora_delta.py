"""The CPU's LoRA op: equal to float64, the same in every batch, with and without a compiler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.kernels import cpu
from engine.kernels.lora_delta import (
    TILE_TOKENS,
    LoraTable,
    lora_delta,
    lora_delta_ref,
    pack_lora,
)
from engine.kernels.lora_plan import make_tiles

SIZES = [  # inputs, outputs of each slice, rank, tokens
    (320, (384, 128, 128), 16, 9),
    (64, (64,), 1, 3),
    (51, (40, 20, 20), 5, 17),
    (112, (64,), 256, 4),
    (64, (112, 112), 64, 130),
    (7, (3, 1), 2, 1),
]


@dataclass
class Scene:
    table: LoraTable
    weights: list[tuple[Tensor, Tensor]]
    scales: tuple[float, ...]
    widths: tuple[int, ...]
    rank: int


def scene(num_in: int, widths: tuple[int, ...], rank: int, bf16: bool) -> Scene:
    """Slots 0 to 2 hold adapters, 3 is empty; an adapter leaves its last slice of several alone."""
    draw = torch.Generator().manual_seed(rank)
    table, weights, count = LoraTable(4, num_in, widths), [], len(widths)
    scales = tuple(0.0 if 0 < s == count - 1 else 1.5 + s for s in range(count))
    for slot in range(3):
        a = torch.randn(count * rank, num_in, generator=draw) * num_in**-0.5
        b = torch.randn(sum(widths), rank, generator=draw) * rank**-0.5
        if bf16:
            a, b = a.bfloat16().float(), b.bfloat16().float()
        weights.append((a, b))
        table.put(slot, pack_lora(a, b, widths, scales))
    return Scene(table, weights, scales, widths, rank)


def expected(made: Scene, x: Tensor, y: Tensor, slots: np.ndarray) -> Tensor:
    out = y.double()
    for t, slot in enumerate(slots):
        if not 0 <= slot < len(made.weights):
            continue
        a, b = (matrix.double() for matrix in made.weights[slot])
        h, start = a @ x[t].double(), 0
        for s, width in enumerate(made.widths):
            part = h[s * made.rank : (s + 1) * made.rank]
            out[t, start : start + width] += made.scales[s] * (b[start : start + width] @ part)
            start += width
    return out


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("num_in", "widths", "rank", "tokens"), SIZES)
def test_delta_equals_float64_and_base_rows_stay(num_in, widths, rank, tokens, bf16):
    made = scene(num_in, widths, rank, bf16)
    weight = made.table.weights[0]
    assert (weight.a.dtype == torch.bfloat16) is bf16
    slots = np.random.default_rng(1).integers(-1, 4, tokens).astype(np.int32)
    x, y = torch.randn(tokens, num_in), torch.randn(tokens, sum(widths))
    out, tiles = y.clone(), make_tiles(slots, TILE_TOKENS)
    lora_delta(out, x, made.table, tiles)
    torch.testing.assert_close(out.double(), expected(made, x, y, slots), rtol=0, atol=2e-5)
    untouched = torch.from_numpy((slots < 0) | (slots == 3))
    assert torch.equal(out[untouched], y[untouched])


def test_a_row_does_not_depend_on_its_batch():
    made = scene(320, (384, 128, 128), 16, bf16=True)
    slots = np.array([0, 1, 0, 0, 2, 0, 1, 0, 0], np.int32)
    x, y = torch.randn(9, 320), torch.randn(9, 640)
    together = y.clone()
    lora_delta(together, x, made.table, make_tiles(slots, TILE_TOKENS))
    for t in range(9):
        alone = y[t : t + 1].clone()
        lora_delta(alone, x[t : t + 1], made.table, make_tiles(slots[t : t + 1], TILE_TOKENS))
        assert torch.equal(alone[0], together[t])


@pytest.fixture
def without_compiler() -> Iterator[None]:
    cpu.configure(compiled=False)
    yield
    cpu.configure()


@pytest.mark.usefixtures("without_compiler")
def test_reference_computes_the_same():
    made = scene(51, (40, 20, 20), 5, bf16=False)
    slots = np.array([0, -1, 2, 1, 0, 3], np.int32)
    x, y = torch.randn(6, 51), torch.randn(6, 80)
    out = y.clone()
    lora_delta(out, x, made.table, make_tiles(slots, TILE_TOKENS))
    torch.testing.assert_close(out.double(), expected(made, x, y, slots), rtol=0, atol=2e-5)
    again = y.clone()
    lora_delta_ref(again, x, made.table, make_tiles(slots, TILE_TOKENS))
    assert torch.equal(again, out)


def test_tiles_cover_every_adapted_token_once():
    slots = np.array([2, -1, 0, 2, 2, 2, 2, -1, 0], np.int32)
    plan = make_tiles(slots, 4)
    assert plan.tokens.tolist() == [2, 8, 0, 3, 4, 5, 6]
    assert plan.tiles.tolist() == [[0, 0, 2], [2, 2, 4], [2, 6, 1]]
    assert make_tiles(np.array([-1, -1], np.int32), 4).tiles.shape == (0, 3)
