"""Every named point once; `python -m tests.chaos.crash_points --rounds n` keeps the record."""

from __future__ import annotations

import random

import pytest

from tests.chaos import books
from tests.chaos.crash import POINTS
from tests.chaos.crash_points import CREW, UNREVOKED, crash_all, revoke_all
from tests.chaos.fleet import Fleet, running


@pytest.mark.timeout(1800)
def test_every_crash_point_leaves_the_books_right():
    rng = random.Random(1)
    with running(Fleet(crew=CREW)) as fleet:
        reached = crash_all(fleet, rng) | revoke_all(fleet, rng)
        fleet.calm_down(within_s=180)
        counts = books.compare(fleet)
    assert books.faults(counts) == {}
    assert reached.pop(UNREVOKED) == 0
    assert reached == dict.fromkeys(POINTS, 1)
