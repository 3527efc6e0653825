"""Sequences that wait for a row, best first, apart for each adapter."""

from __future__ import annotations

import heapq
from collections.abc import Container

from engine.request import Sequence, Status

_Heap = list[tuple[tuple[int, int, int], Sequence]]


class WaitingQueue:
    """A heap on `Sequence.order` for the base model and for each adapter that is waited for, so
    that an adapter that cannot run yet is passed over as a whole. Ended sequences stay inside
    until they surface."""

    def __init__(self) -> None:
        self._heaps: dict[str | None, _Heap] = {}

    def push(self, sequence: Sequence) -> None:
        heap = self._heaps.setdefault(sequence.adapter, [])
        heapq.heappush(heap, (sequence.order, sequence))

    def peek(self, passed_over: Container[str | None]) -> Sequence | None:
        """The best sequence of the adapters that are not passed over, left in place."""
        best: Sequence | None = None
        for adapter, heap in list(self._heaps.items()):
            while heap and heap[0][1].status is not Status.WAITING:
                heapq.heappop(heap)
            if not heap:
                del self._heaps[adapter]
            elif adapter not in passed_over and (best is None or heap[0][0] < best.order):
                best = heap[0][1]
        return best

    def pop(self, sequence: Sequence) -> None:
        """Take out the sequence that `peek` gave."""
        heapq.heappop(self._heaps[sequence.adapter])
