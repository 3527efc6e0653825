"""T-1 at transport level: random SIGKILL of every process, and not one request lost or doubled.

CHAOS_SECONDS and CHAOS_SEED change length and seed of the storm.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from engine import redis_keys
from tests.chaos.fleet import Fleet

SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@dataclass(slots=True)
class Ledger:
    """What web processes were promised, and what the database holds."""

    asked: set[str] = field(default_factory=set)
    admitted: set[str] = field(default_factory=set)
    whole: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    summed: tuple[int, int] = (0, 0)


@contextmanager
def running(fleet: Fleet) -> Iterator[Fleet]:
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


def read_ledger(fleet: Fleet) -> Ledger:
    ledger = Ledger()
    for word, rid, *rest in fleet.journal():
        if word == "ask":
            ledger.asked.add(rid)
        elif word == "admitted":
            ledger.admitted.add(rid)
        elif word == "whole":
            ledger.whole[rid] = int(rest[0])
    with fleet.database() as database:
        found = database.execute("SELECT rid, completion_tokens FROM usage_usagerecord")
        ledger.rows = dict(found.fetchall())
        ledger.summed = database.execute(
            "SELECT sum(requests), sum(completion_tokens) FROM usage_usagehour WHERE key_id = ''"
        ).fetchone()
    return ledger


@pytest.mark.timeout(SECONDS + 150)
def test_every_admitted_request_has_one_row_whoever_is_killed(tmp_path, record_property):
    with running(Fleet(tmp_path)) as fleet:
        fleet.storm(SECONDS, random.Random(SEED))
        fleet.calm_down(within_s=90)
        ledger = read_ledger(fleet)
        record_property("kills", fleet.kills)
        record_property("rows", len(ledger.rows))
        nothing_is_held(fleet)
    assert ledger.admitted - ledger.rows.keys() == set()
    assert ledger.rows.keys() - ledger.asked == set()
    assert {rid: ledger.rows[rid] for rid in ledger.whole} == ledger.whole
    assert ledger.summed == (len(ledger.rows), sum(ledger.rows.values()))
    assert len(ledger.whole) > 100


@pytest.mark.timeout(200)
def test_the_same_storm_shows_a_settler_that_acknowledges_first(tmp_path):
    with running(Fleet(tmp_path, settler=("-m", "tests.chaos.forgetful_settler"))) as fleet:
        fleet.storm(12, random.Random(SEED), ("settler0", "settler1"))
        fleet.calm_down(within_s=60)
        ledger = read_ledger(fleet)
    assert ledger.admitted - ledger.rows.keys() != set()


def nothing_is_held(fleet: Fleet) -> None:
    client = fleet.redis()
    queue = redis_keys.queue("m", "high")
    assert client.xlen(queue) == 0
    assert client.xpending(queue, redis_keys.QUEUE_GROUP)["pending"] == 0
    assert client.get(redis_keys.limit("held", "key:k")) in (None, b"0")
    assert client.zcard(redis_keys.limit("slots", "key:k")) == 0
