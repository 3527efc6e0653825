"""Attention batches and their check against a float64 reference, for any device.

Caches start as NaN and only the sequences' own tokens are filled, so that reading past a length, or
another sequence's block, shows; outputs start as NaN, so that an unwritten row shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.kernels.attention_plan import (
    AttentionPlan,
    AttentionWork,
    make_work,
    plan_attention,
    plan_attention_ref,
)
from engine.kernels.decode_attention import decode_attention
from engine.kernels.paged_attention import paged_attention_ref
from engine.kernels.prefill_attention import prefill_attention

PADDED_TOKENS = 3
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sequence s computes q_lens[s] tokens and then has kv_lens[s]; 0 and 0 is a padded row."""

    q_lens: tuple[int, ...]
    kv_lens: tuple[int, ...]
    heads: int = 4
    kv_heads: int = 2
    dim: int = 64
    block: int = 32
    dtype: torch.dtype = torch.float32
    max_decode_q: int = 1
    window: int = 0
    soft_cap: float = 0.0
    alibi: bool = False
    causal: bool = True
    tile: int = 0  # keys per iteration; 0: what the tuning table says

    @property
    def num_tokens(self) -> int:
        """Of the flat batch, padding included."""
        return sum(self.q_lens) + PADDED_TOKENS

    def __str__(self) -> str:
        extra = [
            name
            for name, on in (
                (f"window{self.window}", self.window),
                ("cap", self.soft_cap),
                ("alibi", self.alibi),
                ("both_ways", not self.causal),
                (f"tile{self.tile}", self.tile),
            )
            if on
        ]
        kind = str(self.dtype).removeprefix("torch.")
        shape = f"{self.heads}over{self.kv_heads}x{self.dim}-block{self.block}-{kind}"
        lens = "_".join(f"{q}of{k}" for q, k in zip(self.q_lens, self.kv_lens, strict=True))
        return "-".join([shape, lens, *extra])


@dataclass(slots=True)
class Batch:
    """Tensors of a case on a device."""

    q_THD: Tensor
    k_cache: Tensor
    v_cache: Tensor
    plan: AttentionPlan
    work: AttentionWork


def build(case: Case, device: torch.device, seed: int = 0, spare_seqs: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    used = [-(-n // case.block) for n in case.kv_lens]
    ids = torch.randperm(sum(used) + 1, generator=generator, dtype=torch.int32)
    table = torch.zeros(len(used) + spare_seqs, max(used) + 1, dtype=torch.int32)
    shape = (len(ids), case.kv_heads, case.block, case.dim)
    k_cache = torch.full(shape, float("nan"), dtype=case.dtype)
    v_cache = torch.full(shape, float("nan"), dtype=case.dtype)
    at = 0
    for s, (count, length) in enumerate(zip(used, case.kv_lens, strict=True)):
        table[s, :count] = ids[at : at + count]
        at += count
        for cache in (k_cache, v_cache):
            tokens = torch.randn(case.kv_heads, count * case.block, case.dim, generator=generator)
            tokens[:, length:] = float("nan")
            blocks = tokens.view(case.kv_heads, count, case.block, case.dim).transpose(0, 1)
            cache[table[s, :count].long()] = blocks.to(case.dtype)
    lens = torch.tensor([*case.q_lens, *[0] * spare_seqs], dtype=torch.int32)
    q_start = torch.cat((torch.zeros(1, dtype=torch.int32), lens.cumsum(0, dtype=torch.int32)))
    num_tokens = int(lens.sum())
    packed = torch.randn(
        num_tokens + PADDED_TOKENS, case.heads + 2, case.dim, generator=generator
    ).to(case.dtype)
    plan = AttentionPlan(
        q_start=q_start.to(device),
        seq_len=torch.tensor([*case.kv_lens, *[0] * spare_seqs], dtype=torch.int32, device=device),
        block_table=table.to(device),
        positions=torch.zeros(0, dtype=torch.int64),
        slots=torch.zeros(0, dtype=torch.int64),
        num_decodes=0,
    )
    work = make_work(
        num_seqs=len(lens),
        num_tokens=case.num_tokens,
        num_heads=case.heads,
        num_kv_heads=case.kv_heads,
        head_dim=case.dim,
        dtype=case.dtype,
        device=device,
        max_decode_q=case.max_decode_q,
    )
    if device.type == "cpu":  # interpreted: few large programs are quicker than many small ones
        work.prefill_launch = replace(work.prefill_launch, rows=max(64, work.prefill_launch.rows))
    if case.tile:
        work.decode_launch = replace(work.decode_launch, tile=case.tile)
        work.prefill_launch = replace(work.prefill_launch, tile=case.tile)
    q_THD = packed.to(device)[:, : case.heads]  # rows further apart than they are long, as in qkv
    return Batch(q_THD, k_cache.to(device), v_cache.to(device), plan, work)


def slopes_of(case: Case, device: torch.device) -> Tensor | None:
    return torch.linspace(0.1, 0.5, case.heads).to(device) if case.alibi else None


def attend(case: Case, batch: Batch) -> Tensor:
    """Plan and both kernels, as the launcher calls them, into an output of NaN."""
    plan_attention(batch.work, batch.plan)
    out = torch.full_like(batch.q_THD, float("nan"), memory_format=torch.contiguous_format)
    for kernel in (decode_attention, prefill_attention):
        if kernel is prefill_attention and not batch.work.prefill_items.shape[0]:
            continue
        kernel(
            out,
            batch.q_THD,
            batch.k_cache,
            batch.v_cache,
            batch.plan.block_table,
            batch.work,
            case.dim**-0.5,
            window=case.window,
            soft_cap=case.soft_cap,
            slopes_H=slopes_of(case, batch.q_THD.device),
            causal=case.causal,
        )
    return out


def expected(case: Case, batch: Batch) -> Tensor:
    """The reference on the same values in float64, on the host."""
    cpu = torch.device("cpu")
    plan = AttentionPlan(
        q_start=batch.plan.q_start.cpu(),
        seq_len=batch.plan.seq_len.cpu(),
        block_table=batch.plan.block_table.cpu(),
        positions=batch.plan.positions,
        slots=batch.plan.slots,
        num_decodes=0,
    )
    slopes = slopes_of(case, cpu)
    out = paged_attention_ref(
        batch.q_THD.cpu().double(),
        batch.k_cache.cpu().double(),
        batch.v_cache.cpu().double(),
        plan,
        case.dim**-0.5,
        case.window,
        soft_cap=case.soft_cap,
        slopes_H=None if slopes is None else slopes.double(),
        causal=case.causal,
    )
    return out.view(out.shape[0], case.heads, case.dim)


def check(case: Case, device: torch.device) -> None:
    batch = build(case, device)
    out = attend(case, batch).cpu().double()
    real = int(batch.plan.q_start[-1])
    torch.testing.assert_close(
        out[:real], expected(case, batch)[:real], rtol=0, atol=TOLERANCE[case.dtype]
    )
    assert out[real:].isnan().all(), "a padded token's output was written"
    assert int(batch.work.arrivals.abs().sum()) == 0, "an arrival counter was left behind"


def check_items(case: Case, device: torch.device) -> None:
    batch = build(case, device)
    plan_attention(batch.work, batch.plan)
    decodes, prefills = plan_attention_ref(batch.work, batch.plan)
    assert batch.work.counts.tolist() == [len(decodes), len(prefills)]
    assert [tuple(row) for row in batch.work.decode_items[: len(decodes)].tolist()] == decodes
    blocks = batch.work.prefill_items[: len(prefills)].tolist()
    assert [tuple(row[:5]) for row in blocks] == prefills
