"""y[t] += scale · B[slot[t]] · (A[slot[t]] · x[t]) on a CPU, for one merged linear.

x [T, K] float32, y [T, N] float32 in place. A linear merged of n slices (q, k, v or gate, up) has
per slot A [n·R, K], one block of R rows a slice, B [N, R], where a slice's outputs read their own
block, and a scale a slice. R is the adapter's largest rank in this linear, lower ones padded with
zeros. A and B are kept in bfloat16 where that loses nothing, for half the memory traffic. Tokens
come in tiles of at most 4 of one slot, so weights are read once a tile; tokens without an adapter
are in no tile and cost nothing. Sums are float32 and do not depend on the batch.
Without a C compiler the same is computed with plain matrices.
Tolerance against float64: 2e-5 at unit variance. Bench: python -m benchmarks lora
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.lora_plan import LoraTiles

A_PANEL, B_PANEL, TILE_TOKENS = 16, 64, 4


@dataclass(slots=True, kw_only=True)
class LoraWeight:
    """A and B of one adapter for one merged linear, as this machine computes them."""

    rank: int
    scales: tuple[float, ...]  # of each slice; 0: the adapter leaves it alone
    a: Tensor  # [n·R, K], or panels [ceil(n·R / 16), K, 16]
    b: Tensor  # [N, R], or per slice panels [ceil(N_s / 64), R, 64], joined

    @property
    def nbytes(self) -> int:
        return self.a.nbytes + self.b.nbytes


def pack_lora(
    a_RK: Tensor, b_NR: Tensor, widths: tuple[int, ...], scales: tuple[float, ...]
) -> LoraWeight:
    """Arrange float32 A [n·R, K] and B [N, R] for the kernel this machine has. Copies."""
    rank = b_NR.shape[1]
    if library() is None:
        return LoraWeight(rank=rank, scales=scales, a=a_RK.clone(), b=b_NR.clone())
    if all(torch.equal(part.bfloat16().float(), part) for part in (a_RK, b_NR)):
        a_RK, b_NR = a_RK.bfloat16(), b_NR.bfloat16()
    parts = [_panels(part, B_PANEL).flatten() for part in b_NR.split(list(widths))]
    return LoraWeight(rank=rank, scales=scales, a=_panels(a_RK, A_PANEL), b=torch.cat(parts))


def plain_lora(
    a_RK: Tensor, b_NR: Tensor, widths: tuple[int, ...], scales: tuple[float, ...]
) -> LoraWeight:
    """As it is, for a device that arranges it itself."""
    return LoraWeight(rank=b_NR.shape[1], scales=scales, a=a_RK, b=b_NR)


def _panels(matrix_NK: Tensor, width: int) -> Tensor:
    """[N, K] → [ceil(N / width), K, width]."""
    padded = F.pad(matrix_NK, (0, 0, 0, -matrix_NK.shape[0] % width))
    return padded.view(-1, width, matrix_NK.shape[1]).transpose(1, 2).contiguous()


_PLACE = np.dtype(  # `Slot` of cpu/lora.c
    [("a", "i8"), ("b", "i8"), ("rank", "i8"), ("present", "i4"), ("bf16", "i4"), ("scale", "4f4")]
)


class LoraTable:
    """The weights of every slot for one merged linear, by address for the compiled kernel."""

    def __init__(self, num_slots: int, num_in: int, widths: tuple[int, ...]) -> None:
        self.num_in, self.widths = num_in, widths
        self.weights: list[LoraWeight | None] = [None] * num_slots
        self._places = np.zeros(num_slots, _PLACE)
        self._ends = np.cumsum(widths, dtype=np.int64)
        # asked for at each call: numpy takes a microsecond to tell an address
        self.places_at, self.ends_at = self._places.ctypes.data, self._ends.ctypes.data

    def put(self, slot: int, weight: LoraWeight | None) -> None:
        """None: the slot leaves this linear alone."""
        self.weights[slot] = weight
        self._places[slot] = 0
        if weight is None:
            return
        place = self._places[slot]
        place["a"], place["b"] = weight.a.data_ptr(), weight.b.data_ptr()
        place["rank"], place["bf16"] = weight.rank, weight.a.dtype == torch.bfloat16
        place["present"] = sum((scale != 0) << s for s, scale in enumerate(weight.scales))
        place["scale"][: len(weight.scales)] = weight.scales


def lora_delta_ref(y_TN: Tensor, x_TK: Tensor, table: LoraTable, tiles: LoraTiles) -> None:
    """Slot by slot with plain matrices."""
    for slot, first, count in tiles.tiles.tolist():
        if (weight := table.weights[slot]) is None:
            continue
        tokens = torch.from_numpy(tiles.tokens[first : first + count].astype(np.int64))
        shrunk = F.linear(x_TK[tokens], weight.a)
        start = 0
        for s, width in enumerate(table.widths):
            part = shrunk[:, s * weight.rank : (s + 1) * weight.rank]
            rows = slice(start, start + width)
            y_TN[tokens, rows] += F.linear(part, weight.b[rows]) * weight.scales[s]
            start += width


def lora_delta(y_TN: Tensor, x_TK: Tensor, table: LoraTable, tiles: LoraTiles) -> None:
    """Launcher: compiled C, else the reference."""
    if (lib := library()) is not None:
        lib.lora_delta(y_TN, x_TK, table, tiles)
    else:
        lora_delta_ref(y_TN, x_TK, table, tiles)
