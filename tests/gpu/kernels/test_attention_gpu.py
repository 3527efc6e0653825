"""Paged attention on the device: float64 references, graph replay of other batches."""

from __future__ import annotations

import pytest
import torch

from engine.kernels.attention_plan import plan_attention
from engine.kernels.decode_attention import decode_attention
from engine.kernels.prefill_attention import prefill_attention
from tests.unit.kernels.attention_cases import (
    TOLERANCE,
    Batch,
    Case,
    build,
    check,
    check_items,
    expected,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")
DTYPES = [torch.bfloat16, torch.float16, torch.float32]
LENGTHS = ((1, 1, 1, 0, 1, 1, 9, 300, 1), (1, 63, 64, 0, 65, 5000, 1000, 1234, 2048))
SHAPES = [(64, 16), (64, 32), (64, 64), (80, 64), (96, 32), (128, 16), (128, 64), (256, 64)]
GROUPS = ((1, 1), (14, 2), (16, 1), (32, 8), (6, 6))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("dim", "block"), SHAPES)
def test_mixed_batch_equals_float64(dim: int, block: int, dtype: torch.dtype) -> None:
    q_lens, kv_lens = LENGTHS
    case = Case(
        q_lens=q_lens, kv_lens=kv_lens, heads=8, kv_heads=2, dim=dim, block=block, dtype=dtype
    )
    check(case, CUDA)
    check_items(case, CUDA)


@pytest.mark.parametrize(("heads", "kv_heads"), GROUPS)
@pytest.mark.parametrize("dim", [64, 128])
def test_group_sizes_equal_float64(heads: int, kv_heads: int, dim: int) -> None:
    q_lens, kv_lens = LENGTHS
    case = Case(
        q_lens=q_lens,
        kv_lens=kv_lens,
        heads=heads,
        kv_heads=kv_heads,
        dim=dim,
        block=64,
        dtype=torch.bfloat16,
        max_decode_q=9,
    )
    check(case, CUDA)


@pytest.mark.parametrize("tile", [16, 32, 64, 128])
@pytest.mark.parametrize("dim", [64, 128])
def test_every_tile_equals_float64(dim: int, tile: int) -> None:
    q_lens, kv_lens = LENGTHS
    case = Case(q_lens=q_lens, kv_lens=kv_lens, dim=dim, block=64, dtype=torch.bfloat16, tile=tile)
    check(case, CUDA)


@pytest.mark.parametrize(
    "options",
    [
        {"window": 100},
        {"soft_cap": 20.0},
        {"alibi": True},
        {"soft_cap": 5.0, "alibi": True, "window": 700},
        {"causal": False},
    ],
    ids=str,
)
def test_score_options_equal_float64(options: dict[str, float | bool]) -> None:
    q_lens, kv_lens = LENGTHS
    check(Case(q_lens=q_lens, kv_lens=kv_lens, block=64, dim=128, **options), CUDA)  # type: ignore[arg-type]


def test_a_graph_replays_batches_it_was_not_captured_with() -> None:
    """Same buffers, other lengths, more and fewer sequences: only device data changes."""
    many = Case(q_lens=(1, 1, 70, 1), kv_lens=(5, 900, 170, 64), block=64, dtype=torch.bfloat16)
    few = Case(q_lens=(40, 1), kv_lens=(300, 3000), block=64, dtype=torch.bfloat16)
    batch, other = build(many, CUDA), build(few, CUDA, seed=1, spare_seqs=2)
    blocks = max(batch.k_cache.shape[0], other.k_cache.shape[0])
    shape = (blocks, *batch.k_cache.shape[1:])
    keys, values = (batch.k_cache.new_full(shape, float("nan")) for _ in range(2))
    width = max(batch.plan.block_table.shape[1], other.plan.block_table.shape[1])
    table = batch.plan.block_table.new_zeros(4, width)
    q_THD = batch.q_THD.new_zeros(80, *batch.q_THD.shape[1:])
    out = torch.empty_like(q_THD)
    work, plan = batch.work, batch.plan

    def step() -> None:
        plan_attention(work, plan)
        decode_attention(out, q_THD, keys, values, table, work, many.dim**-0.5)
        prefill_attention(out, q_THD, keys, values, table, work, many.dim**-0.5)

    def put(source: Batch) -> None:
        keys[: source.k_cache.shape[0]] = source.k_cache
        values[: source.v_cache.shape[0]] = source.v_cache
        held = source.plan.block_table
        table[:, : held.shape[1]] = held
        plan.q_start.copy_(source.plan.q_start)
        plan.seq_len.copy_(source.plan.seq_len)
        q_THD[: source.q_THD.shape[0]] = source.q_THD

    first = build(many, CUDA)
    put(first)
    step()  # compiles outside the capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for case, source in ((few, other), (many, first), (few, other)):
        put(source)
        out.fill_(float("nan"))
        graph.replay()
        real = sum(case.q_lens)
        torch.testing.assert_close(
            out[:real].cpu().double(),
            expected(case, source)[:real],
            rtol=0,
            atol=TOLERANCE[case.dtype],
        )
        assert out[real:].isnan().all()


def test_split_results_do_not_change_between_runs() -> None:
    """Parts are combined in span order whichever program arrives last."""
    case = Case(q_lens=(1,) * 3, kv_lens=(9000, 5000, 700), heads=32, kv_heads=8, dim=128, block=64)
    batch = build(case, CUDA)
    plan_attention(batch.work, batch.plan)
    outs = []
    for _ in range(20):
        out = torch.empty_like(batch.q_THD, memory_format=torch.contiguous_format)
        decode_attention(
            out, batch.q_THD, batch.k_cache, batch.v_cache, batch.plan.block_table, batch.work, 0.1
        )
        outs.append(out[:3])
    assert all(torch.equal(out, outs[0]) for out in outs)


def test_addresses_past_int32_are_reached() -> None:
    """The last block of a cache of more than 2³¹ elements."""
    if torch.cuda.mem_get_info()[0] < 20 << 30:
        pytest.skip("needs 20 GiB of free device memory")
    case = Case(q_lens=(1, 70), kv_lens=(64, 128), heads=8, kv_heads=8, dim=128, block=64,
                dtype=torch.bfloat16)  # fmt: skip
    batch = build(case, CUDA)
    ref = expected(case, batch)
    used = batch.k_cache.shape[0]
    num_blocks = 2**31 // (8 * 64 * 128) + used
    caches = []
    for cache in (batch.k_cache, batch.v_cache):
        big = torch.empty(num_blocks, *cache.shape[1:], dtype=cache.dtype, device=CUDA)
        big[-used:] = cache
        caches.append(big)
    batch.k_cache, batch.v_cache = caches
    batch.plan.block_table += num_blocks - used
    plan_attention(batch.work, batch.plan)
    out = torch.full_like(batch.q_THD, float("nan"), memory_format=torch.contiguous_format)
    for kernel in (decode_attention, prefill_attention):
        kernel(out, batch.q_THD, *caches, batch.plan.block_table, batch.work, case.dim**-0.5)
    torch.testing.assert_close(
        out[:71].cpu().double(), ref[:71], rtol=0, atol=TOLERANCE[case.dtype]
    )
