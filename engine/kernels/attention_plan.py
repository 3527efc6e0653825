"""Where each token of a step's flat batch comes from and goes to, as every attention op reads it.

On a GPU a plan kernel turns q_start and seq_len into two lists of work items, once per step for all
layers, with fixed bounds (grids never depend on the batch, so graphs replay any mix):
decode: (sequence, span of keys) for 0 < q_len ≤ max_decode_q. A sequence is cut into its share of
the target programs, rounded down (a program too many costs a turn of its own), at most 16 parts of
min_span keys or more, beyond that of long_span, since whoever combines them waits for each; spans
are evened out and end on multiples of 128;
prefill: (sequence, block of queries) for longer ones, longest first.
Each item is 8 int32: sequence, kv_len, first row of q, q_len, then first key, end key, first item
of the sequence, number of spans (decode) or first query of the block (prefill).
Grid: any number of programs; program i writes spans and blocks i, i + programs, … of all sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine.kernels.gpu import ceil_div, pad, tl, triton
from engine.kernels.tuning import Launch, decode_launch, prefill_launch

ITEM_WORDS = 8
SPAN_UNIT = 128  # keys: spans end on tile borders of every block size and tile
FEW_PARTS = 16  # of one sequence, that are combined at next to no cost
PLAN_PROGRAMS = 32


@dataclass(slots=True, kw_only=True)
class AttentionPlan:
    """Sequence s owns tokens q_start[s] … q_start[s+1] - 1, the last ones of its seq_len[s].

    Rows of q_start and seq_len beyond the step's sequences repeat the last start and hold length 0;
    tokens beyond the last start have slot -1. Nothing is computed or written for either.
    """

    q_start: Tensor  # [S+1] int32
    seq_len: Tensor  # [S] int32, tokens with KV after this step
    block_table: Tensor  # [S, M] int32
    positions: Tensor  # [T] int64
    slots: Tensor  # [T] int64: block id × block size + offset, where the token's KV goes
    num_decodes: int  # leading sequences with one token
    work: AttentionWork | None = None  # GPU: filled once per step by `plan_attention`


@dataclass(slots=True, kw_only=True)
class AttentionWork:
    """Device buffers of the attention kernels, reused by every step (and every graph replay)."""

    decode_items: Tensor  # [decode bound, 8] int32
    prefill_items: Tensor  # [prefill bound, 8] int32, no rows when a step only decodes
    counts: Tensor  # [2] int32: decode items, prefill items
    parts: Tensor  # [decode bound, G, max_decode_q · group, D] float32
    parts_lse: Tensor  # [decode bound, G, max_decode_q · group] float32
    arrivals: Tensor  # [S, G] int32, zero between steps
    max_decode_q: int
    target_programs: int  # decode programs that fill the device
    num_kv_heads: int
    group: int
    decode_launch: Launch
    prefill_launch: Launch


def make_work(
    *,
    num_seqs: int,
    num_tokens: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    device: torch.device,
    max_decode_q: int = 1,
    decode: Launch | None = None,
    prefill: Launch | None = None,
) -> AttentionWork:
    """Buffers for up to `num_seqs` sequences and `num_tokens` tokens in one step. Launches come
    from the tuning table unless given."""
    group = num_heads // num_kv_heads
    decode = decode or decode_launch(device, head_dim, dtype)
    prefill = prefill or prefill_launch(device, head_dim, dtype, group)
    target = decode.programs_per_sm * num_processors(device)
    spans = num_seqs + ceil_div(target, num_kv_heads)
    prefills = min(num_seqs, num_tokens // (max_decode_q + 1))
    blocks = num_tokens // (prefill.rows // group) + prefills if prefills else 0
    part_rows = max_decode_q * group
    ints: dict[str, Any] = {"dtype": torch.int32, "device": device}
    floats: dict[str, Any] = {"dtype": torch.float32, "device": device}
    return AttentionWork(
        decode_items=torch.zeros(spans, ITEM_WORDS, **ints),
        prefill_items=torch.zeros(blocks, ITEM_WORDS, **ints),
        counts=torch.zeros(2, **ints),
        parts=torch.empty(spans, num_kv_heads, part_rows, head_dim, **floats),
        parts_lse=torch.empty(spans, num_kv_heads, part_rows, **floats),
        arrivals=torch.zeros(num_seqs, num_kv_heads, **ints),
        max_decode_q=max_decode_q,
        target_programs=target,
        num_kv_heads=num_kv_heads,
        group=group,
        decode_launch=decode,
        prefill_launch=prefill,
    )


def narrow_work(
    work: AttentionWork, num_seqs: int, num_tokens: int, only_decodes: bool
) -> AttentionWork:
    """The same buffers for smaller steps: shorter lists, so smaller grids."""
    spans = num_seqs + ceil_div(work.target_programs, work.num_kv_heads)
    prefills = min(num_seqs, num_tokens // (work.max_decode_q + 1))
    blocks = num_tokens // (work.prefill_launch.rows // work.group) + prefills
    if only_decodes:
        blocks = 0
    return replace(
        work,
        decode_items=work.decode_items[:spans],
        prefill_items=work.prefill_items[:blocks],
        arrivals=work.arrivals[:num_seqs],
    )


def num_processors(device: torch.device) -> int:
    """Streaming multiprocessors; 4 for the CPU that interprets kernels in tests."""
    if device.type != "cuda":
        return 4
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


Items = list[tuple[int, ...]]


def plan_attention_ref(work: AttentionWork, plan: AttentionPlan) -> tuple[Items, Items]:
    """The decode and prefill items that the kernel writes, in its order."""
    starts, lengths = plan.q_start.tolist(), plan.seq_len.tolist()
    rows = [(s, n, starts[s], starts[s + 1] - starts[s]) for s, n in enumerate(lengths)]
    decodes = [row for row in rows if 0 < row[3] <= work.max_decode_q]
    load = sum(row[1] for row in decodes) * work.num_kv_heads
    launch = work.decode_launch
    decode: Items = []
    for row in decodes:
        most = min(FEW_PARTS, ceil_div(row[1], launch.min_span))
        most = max(most, row[1] // launch.long_span)
        parts = max(1, min(row[1] * work.target_programs // load, most))
        even = ceil_div(ceil_div(row[1], parts), SPAN_UNIT) * SPAN_UNIT
        edges = list(range(0, row[1], even))
        facts = (len(decode), len(edges))
        decode += [(*row, at, min(at + even, row[1]), *facts) for at in edges]
    block = work.prefill_launch.rows // work.group
    prefill: Items = [
        (*row, at * block, at)
        for row in rows
        if row[3] > work.max_decode_q
        for at in range(ceil_div(row[3], block))
    ]
    prefill.sort(key=lambda item: -item[5])
    return decode, [item[:5] for item in prefill]


@triton.jit
def attention_plan_kernel(
    p_q_start, p_seq_len, p_decode, p_prefill, p_counts, num_seqs, num_kv_heads, target,
    MAX_DECODE_Q: tl.constexpr, BLOCK_Q: tl.constexpr, MIN_SPAN: tl.constexpr,
    LONG_SPAN: tl.constexpr, FEW_PARTS: tl.constexpr, SPAN_UNIT: tl.constexpr,
    ITEM_WORDS: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0)
    programs = tl.num_programs(0)
    o_s = tl.arange(0, BLOCK_S)
    in_s = o_s < num_seqs
    q_first = tl.load(p_q_start + o_s, mask=in_s, other=0)
    q_len = tl.load(p_q_start + o_s + 1, mask=in_s, other=0) - q_first
    kv_len = tl.load(p_seq_len + o_s, mask=in_s, other=0)

    keys = tl.where((q_len > 0) & (q_len <= MAX_DECODE_Q), kv_len, 0)
    load = tl.maximum(tl.sum(keys.to(tl.int64), 0) * num_kv_heads, 1)
    most = tl.minimum(tl.cdiv(keys, MIN_SPAN), FEW_PARTS)
    most = tl.maximum(most, keys // LONG_SPAN)
    parts = (keys.to(tl.int64) * target // load).to(tl.int32)
    parts = tl.maximum(tl.minimum(parts, most), 1)
    even = tl.maximum(tl.cdiv(tl.cdiv(keys, parts), SPAN_UNIT) * SPAN_UNIT, SPAN_UNIT)
    parts = tl.cdiv(keys, even)
    ends = tl.cumsum(parts, 0)
    first_item = ends - parts
    for j in range(i, tl.max(parts, 0), programs):
        live = j < parts
        p_item = p_decode + (first_item + j) * ITEM_WORDS
        tl.store(p_item, o_s, mask=live)
        tl.store(p_item + 1, kv_len, mask=live)
        tl.store(p_item + 2, q_first, mask=live)
        tl.store(p_item + 3, q_len, mask=live)
        tl.store(p_item + 4, j * even, mask=live)
        tl.store(p_item + 5, tl.minimum((j + 1) * even, kv_len), mask=live)
        tl.store(p_item + 6, first_item, mask=live)
        tl.store(p_item + 7, parts, mask=live)

    blocks = tl.where(q_len > MAX_DECODE_Q, tl.cdiv(q_len, BLOCK_Q), 0)
    for j in range(i, tl.max(blocks, 0), programs):
        live = j < blocks
        later = tl.sum(tl.maximum(blocks - 1 - j, 0), 0)  # items of higher blocks come first
        order = later + tl.cumsum(live.to(tl.int32), 0) - 1
        p_item = p_prefill + order * ITEM_WORDS
        tl.store(p_item, o_s, mask=live)
        tl.store(p_item + 1, kv_len, mask=live)
        tl.store(p_item + 2, q_first, mask=live)
        tl.store(p_item + 3, q_len, mask=live)
        tl.store(p_item + 4, tl.full([BLOCK_S], BLOCK_Q, tl.int32) * j, mask=live)
    if i == 0:
        tl.store(p_counts, tl.sum(parts, 0))
        tl.store(p_counts + 1, tl.sum(blocks, 0))


def plan_attention(work: AttentionWork, plan: AttentionPlan) -> None:
    """Write the step's work items (device only, no host value is read) and tie `work` to `plan`."""
    num_seqs = plan.seq_len.shape[0]
    if num_seqs > work.arrivals.shape[0]:
        raise ValueError(f"{num_seqs} sequences, but work buffers hold {work.arrivals.shape[0]}.")
    attention_plan_kernel[(PLAN_PROGRAMS,)](
        plan.q_start, plan.seq_len, work.decode_items, work.prefill_items, work.counts,
        num_seqs, work.num_kv_heads, work.target_programs,
        MAX_DECODE_Q=work.max_decode_q, BLOCK_Q=work.prefill_launch.rows // work.group,
        MIN_SPAN=work.decode_launch.min_span, LONG_SPAN=work.decode_launch.long_span,
        FEW_PARTS=FEW_PARTS, SPAN_UNIT=SPAN_UNIT, ITEM_WORDS=ITEM_WORDS,
        BLOCK_S=pad(num_seqs, 16), num_warps=4,
    )  # fmt: skip
    plan.work = work
