"""Sequences that wait for a row, best first."""

from __future__ import annotations

import heapq

from engine.request import Sequence, Status


class WaitingQueue:
    """A heap on `Sequence.order`. Ended sequences stay inside until they surface."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int, int], Sequence]] = []

    def push(self, sequence: Sequence) -> None:
        heapq.heappush(self._heap, (sequence.order, sequence))

    def peek(self) -> Sequence | None:
        """The next sequence, left in place."""
        while self._heap and self._heap[0][1].status is not Status.WAITING:
            heapq.heappop(self._heap)
        return self._heap[0][1] if self._heap else None

    def pop(self) -> Sequence:
        return heapq.heappop(self._heap)[1]
