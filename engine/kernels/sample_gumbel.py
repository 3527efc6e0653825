"""token = argmax(logits + Gumbel noise): a draw from softmax(logits), reproducible per request.

logits [S, V] float32 (already divided by the temperature, -inf where forbidden), seeds [S] uint64,
positions [S]. The noise of token v at a position is a pure function of (seed, position, v):
word v % 4 of Philox4x32-10 (Salmon et al., SC 2011) with counter (v / 4, position, 0, 0) and the
seed as key, u = (word + 0.5) / 2³², noise = -ln(-ln u). The batch a row travels in has no part.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.cpu import library

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


def sample_gumbel_ref(
    logits_SV: Tensor, seeds_S: Words, positions_S: NDArray[np.int64]
) -> Tensor:
    noise = noise_ref(seeds_S, positions_S, logits_SV.shape[1])
    return (logits_SV.double() + torch.from_numpy(noise)).argmax(-1)


def sample_gumbel(logits_SV: Tensor, seeds_S: Words, positions_S: NDArray[np.int64]) -> Tensor:
    """Launcher: [S] int64. Compiled C on a CPU that has a compiler, else the reference."""
    if logits_SV.device.type == "cpu" and (lib := library()) is not None:
        return lib.sample_gumbel(logits_SV, seeds_S, positions_S)
    return sample_gumbel_ref(logits_SV, seeds_S, positions_S)
