"""A slice of the disconnect storm. The whole: `python -m tests.storms disconnects`."""

from __future__ import annotations

import asyncio

from tests.stack import Stack
from tests.storms.disconnects import IDLE, ends, judged, leave_all, settled


def test_what_clients_leave_behind_ends_once_and_frees_everything(stack: Stack) -> None:
    before = settled(stack, IDLE)
    storm = asyncio.run(leave_all(stack, 150, 5, rate=150))
    after = settled(stack, IDLE)
    figures, cut_off = judged(storm, ends(stack))
    assert before == after == IDLE
    assert figures["ended more than once"] == 0
    assert len(cut_off) > 50
