"""LoRA kernels on the device, at real sizes, and replayed from a CUDA graph on other plans."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.kernels.lora_expand import lora_expand, output_blocks
from engine.kernels.lora_plan import BASE, TILE, fill_work, make_tiles, make_work, prompt_tile
from engine.kernels.lora_shrink import lora_shrink
from tests.unit.kernels.lora_cases import Case, check, check_gated, check_norm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
QKV, GATE_UP = (4096, 1024, 1024), (14336, 14336)
KINDS = [  # each compiles its kernels: decoding and prompts where they differ most
    (BF16, 16, 63), (BF16, 16, 512), (BF16, 256, 63), (BF16, 256, 512), (BF16, 8, 512),
    (BF16, 64, 512), (FP16, 16, 512), (FP32, 16, 512),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "bucket", "tokens"), KINDS, ids=str)
def test_kernels_equal_float64(tokens: int, bucket: int, dtype: torch.dtype) -> None:
    draw = np.random.default_rng(tokens + bucket)
    slots = tuple(draw.integers(-1, 8, tokens).tolist())
    tile = prompt_tile(dtype) if tokens == 512 else TILE
    linears = ((QKV, 4096, check), (GATE_UP, 4096, check_gated), ((4096,), 14336, check))
    if tile == TILE:
        linears += (((4096,), 14336, check_norm),)
    for widths, num_in, checked in linears:
        ranks = tuple(tuple(draw.integers(0, bucket + 1, len(widths)).tolist()) for _ in range(8))
        checked(Case(slots=slots, ranks=ranks, widths=widths, num_in=num_in, bucket=bucket,
                     dtype=dtype, tile=tile), CUDA)  # fmt: skip


def test_one_graph_serves_any_plan() -> None:
    tokens, num_slots, rank = 64, 4, 16
    x = torch.randn(tokens, 256, device=CUDA, dtype=BF16)
    a = torch.randn(num_slots, rank, 256, device=CUDA, dtype=BF16) / 16
    b = torch.randn(num_slots, rank, 512, device=CUDA, dtype=BF16) / 4
    ranks = torch.full((num_slots, 1), rank, dtype=torch.int32, device=CUDA)
    blocks, work = output_blocks((512,), CUDA), make_work(tokens, num_slots, CUDA)
    y = torch.zeros(tokens, 512, device=CUDA, dtype=BF16)

    def step() -> None:
        lora_expand(y, lora_shrink(x, a, ranks, work), b, ranks, blocks, work)

    step()  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for seed in range(4):
        slots = np.random.default_rng(seed).integers(-1, num_slots, tokens).astype(np.int32)
        fill_work(work, make_tiles(slots, TILE, BASE))
        y.zero_()
        step()
        expected = y.clone()
        y.zero_()
        graph.replay()
        assert torch.equal(y, expected)
        assert (y[torch.from_numpy(slots).to(CUDA) < 0] == 0).all()
