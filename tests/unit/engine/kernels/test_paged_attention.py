"""Paged attention against dense softmax, over chunks, windows, block sizes and head groups."""

from __future__ import annotations

import pytest
import torch

from engine.kernels.attention_plan import AttentionPlan
from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.paged_attention import paged_attention_ref

POISON = float("nan")


class Paged:
    """Random K and V of several sequences, scattered over blocks; free memory holds NaN."""

    def __init__(
        self,
        lengths: list[int],
        *,
        kv_heads: int = 2,
        block: int = 16,
        dim: int = 32,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        torch.manual_seed(sum(lengths))
        counts = [-(-length // block) for length in lengths]
        order = torch.randperm(sum(counts) + 3).tolist()
        self.lengths, self.block = lengths, block
        self.keys = torch.full((len(order), kv_heads, dim, block), POISON).to(dtype).transpose(2, 3)
        self.values = torch.full((len(order), kv_heads, block, dim), POISON).to(dtype)
        self.table = torch.zeros(len(lengths), max(counts), dtype=torch.int32)
        for s, length in enumerate(lengths):
            for i in range(counts[s]):
                self.table[s, i] = order.pop()
            for p in range(length):
                at = int(self.table[s, p // block])
                self.keys[at, :, p % block] = torch.randn(kv_heads, dim).to(dtype)
                self.values[at, :, p % block] = torch.randn(kv_heads, dim).to(dtype)

    def plan(self, num_tokens: list[int], lengths: list[int] | None = None) -> AttentionPlan:
        starts = torch.tensor([0, *num_tokens]).cumsum(0)
        return AttentionPlan(
            q_start=starts.int(),
            seq_len=torch.tensor(lengths or self.lengths, dtype=torch.int32),
            block_table=self.table,
            positions=torch.zeros(1, dtype=torch.int64),
            slots=torch.zeros(1, dtype=torch.int64),
            num_decodes=0,
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [0, 1, 7, 20, 1000])
@pytest.mark.parametrize(("q_heads", "kv_heads"), [(1, 1), (4, 2), (9, 3), (16, 1)])
def test_equals_dense_softmax(
    lib: CpuLibrary, dtype: torch.dtype, window: int, q_heads: int, kv_heads: int
) -> None:
    paged = Paged([1, 15, 16, 17, 50], kv_heads=kv_heads, dtype=dtype)
    plan = paged.plan([1, 15, 1, 4, 33])
    wide = torch.randn(54, q_heads + 3, 32)
    q = wide[:, :q_heads]  # rows as they lie beside k and v
    found = lib.paged_attention(q, paged.keys, paged.values, plan, 0.2, window)
    expected = paged_attention_ref(q, paged.keys, paged.values, plan, 0.2, window)
    torch.testing.assert_close(found, expected, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("block", [16, 32, 64, 128])
@pytest.mark.parametrize("dim", [16, 48, 128])
def test_block_sizes_and_head_sizes(lib: CpuLibrary, block: int, dim: int) -> None:
    paged = Paged([130, 3], block=block, dim=dim)
    q = torch.randn(12, 4, dim)
    plan = paged.plan([10, 2])
    found = lib.paged_attention(q, paged.keys, paged.values, plan, dim**-0.5, 0)
    expected = paged_attention_ref(q, paged.keys, paged.values, plan, dim**-0.5, 0)
    torch.testing.assert_close(found, expected, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("window", [0, 9])
def test_a_row_is_bit_equal_however_its_prompt_was_cut(lib: CpuLibrary, window: int) -> None:
    paged = Paged([61])
    q = torch.randn(61, 6, 32)
    whole = lib.paged_attention(q, paged.keys, paged.values, paged.plan([61]), 0.3, window)
    for cuts in ([1] * 61, [3, 30, 28], [60, 1]):
        done, parts = 0, []
        for size in cuts:
            plan = paged.plan([size], [done + size])
            rows = q[done : done + size]
            parts.append(lib.paged_attention(rows, paged.keys, paged.values, plan, 0.3, window))
            done += size
        assert torch.equal(torch.cat(parts), whole)


def test_blocks_that_fill_no_vector_take_the_reference(lib: CpuLibrary) -> None:
    assert lib.can_attend(Paged([5], block=32).keys)
    assert not lib.can_attend(Paged([5], block=8).keys)
    assert not lib.can_attend(Paged([5], dim=24).keys)
