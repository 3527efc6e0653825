"""T-1: random SIGKILL of every process, and not one request or token lost or doubled.

A short storm here; `make chaos HOURS=n` runs it for as long as asked and keeps a record.
"""

from __future__ import annotations

import random

import pytest

from tests.chaos import books
from tests.chaos.fleet import Fleet, running
from tests.chaos.storm import control

SEED = 1


@pytest.mark.timeout(600)
def test_all_books_agree_whoever_is_killed(record_property):
    with running(Fleet(seed=SEED)) as fleet:
        fleet.storm(25, random.Random(SEED), every_s=(0.7, 2.0))
        fleet.calm_down(within_s=180)
        counts = books.compare(fleet)
    record_property("counts", counts)
    assert books.faults(counts) == {}
    assert sum(fleet.kills.values()) > 5
    assert counts["whole"] > 20


@pytest.mark.timeout(600)
def test_books_show_a_settler_that_acknowledges_first():
    assert control("forgetful", 20, SEED)["lost"] > 0


@pytest.mark.timeout(600)
def test_books_show_a_table_without_a_unique_rid():
    assert control("doubling", 20, SEED)["doubled"] > 0
