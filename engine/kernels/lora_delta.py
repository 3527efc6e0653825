"""y[t] += B[slot[t]] · (A[slot[t]] · x[t]) on a CPU, for one of the engine's merged linears.

x [T, K] float32, y [T, N] float32 in place. A linear merged of n slices (q, k, v or gate, up) has
per slot A [n·R, K], one block of R rows a slice, and B [N, R], where a slice's outputs read their
own block; the scale is folded into B. R is the adapter's largest rank in this linear, lower ones
padded with zeros. Tokens come in tiles of at most 4 of one slot, so weights are read once a tile;
tokens without an adapter are in no tile and cost nothing. Sums are float32, and each output is one
chain over k and one over r, so it does not depend on the batch.
Without a C compiler the references of lora_shrink and lora_expand compute the same.
Tolerance against float64: 2e-5 at unit variance. Bench: python -m benchmarks.kernels lora
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.lora_plan import LoraTiles

LANES, TILE_TOKENS = 16, 4


@dataclass(slots=True, kw_only=True)
class LoraWeight:
    """A and B of one adapter for one merged linear, as this machine computes them."""

    rank: int
    present: int  # a bit for each slice the adapter changes
    a: Tensor  # [n·R, K], or panels [ceil(n·R / 16), K, 16]
    b: Tensor  # [N, R], or per slice panels [ceil(N_s / 16), R, 16], joined

    @property
    def nbytes(self) -> int:
        return (self.a.numel() + self.b.numel()) * 4


def pack_lora(a_RK: Tensor, b_NR: Tensor, widths: tuple[int, ...], present: int) -> LoraWeight:
    """Arrange float32 A [n·R, K] and B [N, R] for the kernel this machine has. Copies."""
    rank = b_NR.shape[1]
    if library() is None:
        return LoraWeight(rank=rank, present=present, a=a_RK.contiguous(), b=b_NR.contiguous())
    parts = [_panels(part).flatten() for part in b_NR.split(list(widths))]
    return LoraWeight(rank=rank, present=present, a=_panels(a_RK), b=torch.cat(parts))


def _panels(matrix_NK: Tensor) -> Tensor:
    """[N, K] → [ceil(N / 16), K, 16]."""
    padded = F.pad(matrix_NK, (0, 0, 0, -matrix_NK.shape[0] % LANES))
    return padded.view(-1, LANES, matrix_NK.shape[1]).transpose(1, 2).contiguous()


class LoraTable:
    """The weights of every slot for one merged linear, by address for the compiled kernel."""

    def __init__(self, num_slots: int, num_in: int, widths: tuple[int, ...]) -> None:
        self.num_in, self.widths = num_in, widths
        self.ends = np.cumsum(widths, dtype=np.int64)
        self.weights: list[LoraWeight | None] = [None] * num_slots
        self.places = np.zeros((num_slots, 4), np.int64)  # addresses of A and B, rank, present

    def put(self, slot: int, weight: LoraWeight | None) -> None:
        """None: the slot leaves this linear alone."""
        self.weights[slot] = weight
        self.places[slot] = 0
        if weight is not None:
            addresses = (weight.a.data_ptr(), weight.b.data_ptr())
            self.places[slot] = (*addresses, weight.rank, weight.present)


def lora_delta_ref(y_TN: Tensor, x_TK: Tensor, table: LoraTable, tiles: LoraTiles) -> None:
    """Slot by slot with plain matrices."""
    for slot, first, count in tiles.tiles.tolist():
        if (weight := table.weights[slot]) is None:
            continue
        tokens = torch.from_numpy(tiles.tokens[first : first + count].astype(np.int64))
        shrunk = F.linear(x_TK[tokens], weight.a)
        start = 0
        for s, end in enumerate(table.ends.tolist()):
            part = shrunk[:, s * weight.rank : (s + 1) * weight.rank]
            y_TN[tokens, start:end] += F.linear(part, weight.b[start:end])
            start = end


def lora_delta(y_TN: Tensor, x_TK: Tensor, table: LoraTable, tiles: LoraTiles) -> None:
    """Launcher: compiled C, else the reference."""
    if (lib := library()) is not None:
        lib.lora_delta(y_TN, x_TK, table, tiles)
    else:
        lora_delta_ref(y_TN, x_TK, table, tiles)
