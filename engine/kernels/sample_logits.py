"""What a request forbids or prefers, applied to logits before the draw, for rows that need it.

logits [S, V] (float32 or bf16) → adjusted [S, V] float32. In this order, as runner/constraints.py:
bitmask (bit v of word v / 32 clear: -inf), + bias, repetition r over prompt and output
(x > 0: x / r, else x · r), - frequency · count - presence where count > 0, ÷ temperature unless 0.
`uses` [P, V] int32 = 2 · (times generated) + (1 if in the prompt); bias as lists of ids, -1 unused.
Rows whose `flags` is 0 are plain: they are neither read nor written here, the draw takes them raw.
Kernel: grid (ceil(V / BLOCK_V), S). Bound by memory: 12 · V bytes per row with penalties.
Safe in CUDA graphs. Bench: python -m benchmarks.kernels sample. Tolerance: 1e-6 relative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.gpu import ceil_div, tl, triton

BLOCK_V = 2048
ADJUSTED, FILTERED = 1, 2  # bits of `flags`: read the adjusted copy; search a threshold in it


@dataclass(slots=True, kw_only=True)
class SampleRows:
    """Sampling state on the device: [S] per sampled row of the step, [P, …] tables of state."""

    flags: Tensor  # [S] int32, ADJUSTED | FILTERED or 0
    table_row: Tensor  # [S] int32, row of the tables below; -1: no constraints
    temperature: Tensor  # [S] float32, 0 = greedy
    top_k: Tensor  # [S] int32, ≤ 0 = all
    top_p: Tensor  # [S] float32
    min_p: Tensor  # [S] float32
    repetition: Tensor  # [S] float32, 1 = none
    frequency: Tensor  # [S] float32
    presence: Tensor  # [S] float32
    seeds: Tensor  # [S] int64, the bits of a uint64
    positions: Tensor  # [S] int64, of the token to draw
    uses: Tensor  # [P, V] int32
    allowed: Tensor  # [P, ceil(V / 32)] int32 bitmask
    bias_ids: Tensor  # [P, K] int32, K a power of two
    bias: Tensor  # [P, K] float32


def adjust_logits_ref(logits_SV: Tensor, rows: SampleRows) -> Tensor:
    """Adjusted logits of all rows (float64 in gives float64 out)."""
    out_SV = logits_SV.clone() if logits_SV.dtype == torch.float64 else logits_SV.float()
    vocab = out_SV.shape[1]
    bits = torch.arange(32, dtype=torch.int32)
    for s, at in enumerate(rows.table_row.tolist()):
        row_V = out_SV[s]
        if at >= 0:
            allowed = ((rows.allowed[at][:, None] >> bits) & 1).flatten()[:vocab].bool()
            row_V[~allowed] = float("-inf")
            listed = rows.bias_ids[at] >= 0
            row_V[rows.bias_ids[at][listed].long()] += rows.bias[at][listed]
            uses = rows.uses[at]
            weight = torch.where(row_V > 0, 1 / rows.repetition[s], rows.repetition[s])
            row_V[uses > 0] *= weight[uses > 0].to(row_V.dtype)
            count = uses >> 1
            row_V -= rows.frequency[s] * count + rows.presence[s] * (count > 0)
        if rows.temperature[s] > 0:
            row_V /= rows.temperature[s]
    return out_SV


@triton.jit
def penalise(x, uses, repetition, frequency, presence):
    count = uses >> 1
    x = tl.where(uses > 0, tl.where(x > 0, x / repetition, x * repetition), x)
    return x - (frequency * count.to(tl.float32) + tl.where(count > 0, presence, 0.0))


@triton.jit
def adjust_logits_kernel(
    p_out, p_logits, p_flags, p_table_row, p_temperature, p_repetition, p_frequency, p_presence,
    p_uses, p_allowed, p_bias_ids, p_bias, V, stride_s, words, BLOCK_V: tl.constexpr,
    NUM_BIAS: tl.constexpr,
):  # fmt: skip
    i_s = tl.program_id(1)
    if tl.load(p_flags + i_s) == 0:
        return
    first = tl.program_id(0) * BLOCK_V
    o_v = first + tl.arange(0, BLOCK_V)
    in_v = o_v < V
    table = tl.load(p_table_row + i_s).to(tl.int64)
    temperature = tl.load(p_temperature + i_s)
    divisor = tl.where(temperature > 0.0, temperature, 1.0)
    p_row = p_logits + i_s.to(tl.int64) * stride_s
    p_new = p_out + i_s.to(tl.int64) * V
    x = tl.load(p_row + o_v, mask=in_v, other=float("-inf")).to(tl.float32)
    if table < 0:
        tl.store(p_new + o_v, x / divisor, mask=in_v)
    else:
        repetition = tl.load(p_repetition + i_s)
        frequency = tl.load(p_frequency + i_s)
        presence = tl.load(p_presence + i_s)
        word = tl.load(p_allowed + table * words + o_v // 32, mask=in_v, other=0)
        uses = tl.load(p_uses + table * V + o_v, mask=in_v, other=0)
        x = tl.where(((word >> (o_v % 32)) & 1) == 1, x, float("-inf"))
        x = penalise(x, uses, repetition, frequency, presence)
        tl.store(p_new + o_v, x / divisor, mask=in_v)
        # The few biased tokens once more: a penalty may turn on the sign of x + bias.
        o_k = tl.arange(0, NUM_BIAS)
        ids = tl.load(p_bias_ids + table * NUM_BIAS + o_k)
        here = (ids >= first) & (ids < first + BLOCK_V) & (ids < V)
        if tl.max(here.to(tl.int32), 0) > 0:
            bias = tl.load(p_bias + table * NUM_BIAS + o_k, mask=here, other=0.0)
            y = tl.load(p_row + ids, mask=here, other=0.0).to(tl.float32) + bias
            word_k = tl.load(p_allowed + table * words + ids // 32, mask=here, other=0)
            uses_k = tl.load(p_uses + table * V + ids, mask=here, other=0)
            y = tl.where(((word_k >> (ids % 32)) & 1) == 1, y, float("-inf"))
            y = penalise(y, uses_k, repetition, frequency, presence)
            tl.debug_barrier()  # other threads' plain values of these tokens are written
            tl.store(p_new + ids, y / divisor, mask=here)


def adjust_logits_gpu(adjusted_SV: Tensor, logits_SV: Tensor, rows: SampleRows) -> None:
    """Fill the rows of `adjusted_SV` whose flags are set."""
    num_rows, vocab = logits_SV.shape
    adjust_logits_kernel[(ceil_div(vocab, BLOCK_V), num_rows)](
        adjusted_SV, logits_SV, rows.flags, rows.table_row, rows.temperature, rows.repetition,
        rows.frequency, rows.presence, rows.uses, rows.allowed, rows.bias_ids, rows.bias,
        vocab, logits_SV.stride(0), rows.allowed.shape[1], BLOCK_V=BLOCK_V,
        NUM_BIAS=rows.bias_ids.shape[1], num_warps=4,
    )  # fmt: skip
