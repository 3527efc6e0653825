"""The running sequences as arrays over rows, so that a decode step is planned without a loop."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from engine.request import Sequence


class RowTable:
    """Rows 0 … size - 1. `scheduled` and `target` count steps in flight as done."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sequence_of: list[Sequence | None] = [None] * size
        self.scheduled = np.zeros(size, np.int32)  # tokens handed to the runner
        self.target = np.zeros(size, np.int32)  # tokens known, or sampled by a step in flight
        self.room = np.zeros(size, np.int32)  # tokens that fit the row's blocks
        self.limit = np.zeros(size, np.int32)  # the last token of a sequence is never computed
        self.decoding = np.zeros(size, np.bool_)  # exactly one token is left to compute
        self.slot = np.full(size, -1, np.int32)  # of the row's adapter; -1: base
        self.num_adapted = 0  # rows with a slot
        self._free = list(range(size))

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_running(self) -> int:
        return self.size - len(self._free)

    def running(self) -> list[Sequence]:
        return [sequence for sequence in self.sequence_of if sequence is not None]

    def take(self, sequence: Sequence, room: int, slot: int = -1) -> int:
        """Seat a sequence whose first `computed` tokens have their KV already."""
        row = heapq.heappop(self._free)
        self.sequence_of[row] = sequence
        self.scheduled[row] = sequence.computed
        self.target[row] = len(sequence.tokens)
        self.room[row] = room
        self.limit[row] = max(sequence.prompt_len, sequence.max_len - 1)
        self.decoding[row] = False
        self.slot[row] = slot
        self.num_adapted += slot >= 0
        return row

    def give_back(self, row: int) -> None:
        self.sequence_of[row] = None
        self.decoding[row] = False
        self.num_adapted -= int(self.slot[row] >= 0)
        heapq.heappush(self._free, row)

    def decodes(self, budget: int, turn: int) -> NDArray[np.intp]:
        """Rows with one token to compute; beyond the budget they take turns."""
        rows = np.flatnonzero(self.decoding & (self.scheduled < self.limit))
        if len(rows) > budget:
            rows = np.sort(np.roll(rows, -(turn * budget) % len(rows))[:budget])
        return rows
