"""Batches for timing attention kernels, and the clock: replays of CUDA graphs over cold buffers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from engine.kernels import gpu
from engine.kernels.attention_plan import AttentionPlan, AttentionWork, make_work, plan_attention
from engine.kernels.gpu import ceil_div
from engine.kernels.tuning import Launch

CUDA = torch.device("cuda")
BLOCK = 64
COLD_BYTES = 256 << 20  # walked through between two visits of one buffer: five times an L2
MOST_KV_BYTES = 48 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """A model's attention shape."""

    name: str
    heads: int
    kv_heads: int
    dim: int

    def kv_bytes(self, tokens: int) -> int:
        return 2 * tokens * self.kv_heads * self.dim * 2


LLAMA_8B = Heads(name="Llama-8B", heads=32, kv_heads=8, dim=128)
QWEN3_06B = Heads(name="Qwen3-0.6B", heads=16, kv_heads=8, dim=128)
LLAMA_1B = Heads(name="Llama-1B", heads=32, kv_heads=8, dim=64)
QWEN25_15B = Heads(name="Qwen2.5-1.5B", heads=12, kv_heads=2, dim=128)
QWEN25_05B = Heads(name="Qwen2.5-0.5B", heads=14, kv_heads=2, dim=64)


def one_by_one() -> AbstractContextManager[object]:
    """While it is open no kernel is launched early: a row of attention calls, which no engine
    makes, would crowd the multiprocessors that free first."""
    return mock.patch.object(gpu, "_launches_early", return_value=False)


def timed(launches: Sequence[Callable[[], object]], *, replays: int = 7) -> float:
    """Seconds per launch: all launches in one graph, repeated until a replay lasts about 1 ms."""
    for launch in launches[:2]:
        launch()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for launch in launches:
        launch()
    torch.cuda.synchronize()
    rounds = max(1, min(20, int(1e-3 / (time.perf_counter() - began))))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(rounds):
            for launch in launches:
                launch()
    graph.replay()
    spans = []
    for _ in range(replays):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        spans.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(spans) / (rounds * len(launches))


@dataclass(slots=True)
class Scene:
    """A batch with one K and V cache per 'layer', enough of them to be cold."""

    q_THD: Tensor
    out_THD: Tensor
    layers: list[tuple[Tensor, Tensor]]
    plan: AttentionPlan
    work: AttentionWork
    scale: float

    def launches(self, kernel: Callable[..., None]) -> list[Callable[[], object]]:
        def one(keys: Tensor, values: Tensor) -> Callable[[], object]:
            table, work = self.plan.block_table, self.work
            return lambda: kernel(self.out_THD, self.q_THD, keys, values, table, work, self.scale)

        return [one(*layer) for layer in self.layers]


def scene(
    shape: Heads,
    seqs: int,
    q_len: int,
    context: int,
    launch: Launch | None = None,
    layers: int = 32,
) -> Scene:
    """`seqs` sequences of `context` tokens in scattered blocks, `q_len` of them computed now, in
    at most `layers` caches."""
    per_seq = ceil_div(context, BLOCK)
    num_blocks = seqs * per_seq
    layers = min(layers, max(1, ceil_div(COLD_BYTES, shape.kv_bytes(num_blocks * BLOCK))))
    cache_shape = (num_blocks, shape.kv_heads, BLOCK, shape.dim)
    made = [
        (torch.randn(cache_shape, device=CUDA, dtype=torch.bfloat16),
         torch.randn(cache_shape, device=CUDA, dtype=torch.bfloat16))
        for _ in range(layers)
    ]  # fmt: skip
    # rows of a multiple of 16 entries: Triton compiles anew for any other stride
    table = torch.zeros(seqs, ceil_div(per_seq, 16) * 16, device=CUDA, dtype=torch.int32)
    ids = torch.randperm(num_blocks, device=CUDA, dtype=torch.int32)
    table[:, :per_seq] = ids.view(seqs, per_seq)
    ints = torch.arange(seqs + 1, device=CUDA, dtype=torch.int32)
    plan = AttentionPlan(
        q_start=ints * q_len,
        seq_len=torch.full((seqs,), context, device=CUDA, dtype=torch.int32),
        block_table=table,
        positions=ints,
        slots=ints,
        num_decodes=seqs if q_len == 1 else 0,
    )
    q_THD = torch.randn(seqs * q_len, shape.heads, shape.dim, device=CUDA, dtype=torch.bfloat16)
    work = work_for(shape, seqs, q_len, launch)
    plan_attention(work, plan)
    return Scene(q_THD, torch.empty_like(q_THD), made, plan, work, shape.dim**-0.5)


def work_for(
    shape: Heads, seqs: int, q_len: int, launch: Launch | None, num_tokens: int = 0
) -> AttentionWork:
    """`num_tokens`: of a ragged batch whose longest sequence computes `q_len`."""
    return make_work(
        num_seqs=seqs,
        num_tokens=num_tokens or seqs * q_len,
        num_heads=shape.heads,
        num_kv_heads=shape.kv_heads,
        head_dim=shape.dim,
        dtype=torch.bfloat16,
        device=CUDA,
        decode=launch if q_len == 1 else None,
        prefill=launch if q_len > 1 else None,
    )


def fits(shape: Heads, seqs: int, context: int) -> bool:
    return shape.kv_bytes(seqs * context) <= min(MOST_KV_BYTES, torch.cuda.mem_get_info()[0] // 2)


def pairs_flops(shape: Heads, seqs: int, length: int) -> float:
    return 4.0 * shape.dim * shape.heads * seqs * length * (length + 1) / 2
