"""token = argmax(logits + Gumbel noise): a draw from softmax(logits), reproducible per request.

logits [S, V] float32 (already divided by the temperature, -inf where forbidden), seeds [S] uint64,
positions [S]. The noise of token v at a position is a pure function of (seed, position, v):
word v % 4 of Philox4x32-10 (Salmon et al., SC 2011) with counter (v / 4, position, 0, 0) and the
seed as key, u = (word + 0.5) / 2³², noise = -ln(-ln u). The batch a row travels in has no part.

Kernel: grid (ceil(V / 2048), S); each program keeps its best token, the last to arrive of a row
picks the row's. Temperature and threshold are applied on the way, so a plain row's logits are read
once and nothing is written but the token: first index of the maximum when greedy, -1 for a row with
a NaN, -2 where nothing is allowed. Noise in float32 differs from the reference by less than 1e-5,
the token only where two sums are closer than that.
Safe in CUDA graphs. Bench: python -m benchmarks.kernels sample
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.gpu import ceil_div, pad, tl, triton
from engine.kernels.sample_logits import ADJUSTED, BLOCK_V, SampleRows

Words = NDArray[np.uint64]
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]) -> list[Words]:
    """Philox4x32-10: four 32-bit words per counter, held in uint64 arrays that broadcast."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        left, right = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            (right >> _HALF) ^ b ^ k0,
            right & _LOW,
            (left >> _HALF) ^ d ^ k1,
            left & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return [a, b, c, d]


def noise_ref(seeds_S: Words, positions_S: NDArray[np.int64], vocab: int) -> NDArray[np.float64]:
    """Gumbel noise [S, V]."""
    seeds = seeds_S[:, None]
    counts = np.arange(-(-vocab // 4), dtype=np.uint64)[None, :]
    places = positions_S.astype(np.uint64)[:, None]
    zero = np.zeros((1, 1), np.uint64)
    words = philox((counts, places, zero, zero), (seeds & _LOW, seeds >> _HALF))
    flat = np.stack([np.broadcast_to(w, words[0].shape) for w in words], axis=-1)
    uniform = (flat.reshape(len(seeds_S), -1)[:, :vocab].astype(np.float64) + 0.5) / 2.0**32
    noise: NDArray[np.float64] = -np.log(-np.log(uniform))
    return noise


def sample_gumbel_ref(logits_SV: Tensor, seeds_S: Words, positions_S: NDArray[np.int64]) -> Tensor:
    noise = noise_ref(seeds_S, positions_S, logits_SV.shape[1])
    return (logits_SV.double() + torch.from_numpy(noise)).argmax(-1)


def sample_gumbel(logits_SV: Tensor, seeds_S: Words, positions_S: NDArray[np.int64]) -> Tensor:
    """Launcher: [S] int64. Compiled C on a CPU that has a compiler, else the reference."""
    if logits_SV.device.type == "cpu" and (lib := library()) is not None:
        return lib.sample_gumbel(logits_SV, seeds_S, positions_S)
    return sample_gumbel_ref(logits_SV, seeds_S, positions_S)


NAN_ROW, EMPTY_ROW = -1, -2


@triton.jit
def gumbel(word):
    """-ln(-ln u) of u = (word + 0.5) / 2³² in float32. Near u = 1, where draws are won, -ln u is a
    series in 1 - u: the difference is exact there, u itself is not."""
    short = (word.to(tl.uint32) ^ 0xFFFFFFFF).to(tl.float32) * 2.3283064365386963e-10 + 2.0**-33
    full = word.to(tl.float32) * 2.3283064365386963e-10 + 2.0**-33
    near = short * (1 + short * (1 / 2 + short * (1 / 3 + short * (1 / 4 + short * (
        1 / 5 + short * (1 / 6 + short * (1 / 7)))))))  # fmt: skip
    return -tl.log(tl.where(short < 0.0625, near, -tl.log(full)))


@triton.jit
def sample_draw_kernel(
    p_token, p_logits, p_adjusted, p_threshold, p_flags, p_temperature, p_seeds, p_positions,
    p_best, p_best_id, p_arrivals, V, stride_s, ADJUSTED: tl.constexpr, BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
):  # fmt: skip
    i_c = tl.program_id(0)
    i_s = tl.program_id(1)
    chunks = tl.num_programs(0)
    o_v = i_c * BLOCK_V + tl.arange(0, BLOCK_V)
    in_v = o_v < V
    temperature = tl.load(p_temperature + i_s)
    if (tl.load(p_flags + i_s) & ADJUSTED) != 0:
        p_row = p_adjusted + i_s.to(tl.int64) * V
        x = tl.load(p_row + o_v, mask=in_v, other=float("-inf"))
        x = tl.where(x < tl.load(p_threshold + i_s), float("-inf"), x)  # a NaN stays
    else:
        p_raw = p_logits + i_s.to(tl.int64) * stride_s
        x = tl.load(p_raw + o_v, mask=in_v, other=float("-inf")).to(tl.float32)
        x = x / tl.where(temperature > 0.0, temperature, 1.0)
    is_nan = tl.max((x != x).to(tl.int32), 0)
    if temperature > 0.0:
        seed = tl.load(p_seeds + i_s).to(tl.uint64, bitcast=True)
        position = tl.load(p_positions + i_s)
        counter = (i_c * (BLOCK_V // 4) + tl.arange(0, BLOCK_V // 4)).to(tl.uint32)
        zero = counter * 0
        a, b, c, d = tl.philox(seed, counter, zero + position.to(tl.uint32), zero, zero, 10)
        words = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), [BLOCK_V])
        x += gumbel(words)
    best, at = tl.max(x, 0, return_indices=True)
    o_best = i_s.to(tl.int64) * chunks + i_c
    best_id = tl.where(is_nan > 0, -1, i_c * BLOCK_V + at)
    tl.store(p_best + o_best, best)
    tl.store(p_best_id + o_best, best_id)
    tl.debug_barrier()
    arrived = tl.atomic_add(p_arrivals + i_s, 1, sem="acq_rel", scope="gpu")
    if arrived == chunks - 1:
        tl.store(p_arrivals + i_s, 0)
        o_c = tl.arange(0, BLOCK_C)
        o_row = i_s.to(tl.int64) * chunks + o_c
        in_c = o_c < chunks
        bests = tl.load(p_best + o_row, mask=in_c, other=float("-inf"), cache_modifier=".cg")
        ids = tl.load(p_best_id + o_row, mask=in_c, other=0, cache_modifier=".cg")
        top, winner = tl.max(bests, 0, return_indices=True)
        token = tl.sum(tl.where(o_c == winner, ids, 0), 0)
        token = tl.where(top == float("-inf"), -2, token)
        token = tl.where(tl.min(ids, 0) < 0, -1, token)
        tl.store(p_token + i_s, token.to(tl.int64))


@dataclass(slots=True, kw_only=True)
class DrawBuffers:
    """Device scratch of the sampler, reused by every step (and every graph replay)."""

    adjusted: Tensor  # [S, V] float32
    threshold: Tensor  # [S] float32
    best: Tensor  # [S, chunks] float32
    best_id: Tensor  # [S, chunks] int32
    arrivals: Tensor  # [S] int32, zero between steps


def make_draw_buffers(num_rows: int, vocab: int, device: torch.device) -> DrawBuffers:
    chunks = ceil_div(vocab, BLOCK_V)
    return DrawBuffers(
        adjusted=torch.empty(num_rows, vocab, dtype=torch.float32, device=device),
        threshold=torch.empty(num_rows, dtype=torch.float32, device=device),
        best=torch.empty(num_rows, chunks, dtype=torch.float32, device=device),
        best_id=torch.empty(num_rows, chunks, dtype=torch.int32, device=device),
        arrivals=torch.zeros(num_rows, dtype=torch.int32, device=device),
    )


def sample_draw_gpu(
    token_S: Tensor, logits_SV: Tensor, rows: SampleRows, buffers: DrawBuffers
) -> None:
    """Fill `token_S` int64 from raw rows, or from adjusted ones above their threshold."""
    num_rows, vocab = logits_SV.shape
    chunks = ceil_div(vocab, BLOCK_V)
    sample_draw_kernel[(chunks, num_rows)](
        token_S, logits_SV, buffers.adjusted, buffers.threshold, rows.flags, rows.temperature,
        rows.seeds, rows.positions, buffers.best, buffers.best_id, buffers.arrivals,
        vocab, logits_SV.stride(0), ADJUSTED=ADJUSTED, BLOCK_V=BLOCK_V, BLOCK_C=pad(chunks),
        num_warps=4,
    )  # fmt: skip
