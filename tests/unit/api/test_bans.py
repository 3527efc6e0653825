"""Addresses that send many wrong keys."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api import bans
from apps.api.bans import WINDOW_S, Bans, address_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_ban_begins_with_the_last_allowed_failure_and_ends(clock: Clock) -> None:
    made = Bans(3, 300, clock)
    for _ in range(2):
        made.failed("a")
        assert made.left_s("a") == 0
    made.failed("a")
    made.failed("b")
    assert (made.left_s("a"), made.left_s("b")) == (300, 0)
    clock.now += 299
    assert made.left_s("a") == 1
    clock.now += 1
    assert made.left_s("a") == 0
    for _ in range(2):
        made.failed("a")
    assert made.left_s("a") == 0
    made.failed("a")
    assert made.left_s("a") == 300


def test_failures_of_more_than_a_minute_ago_do_not_count(clock: Clock) -> None:
    made = Bans(3, 300, clock)
    for _ in range(2):
        made.failed("a")
    clock.now += WINDOW_S
    for _ in range(2):
        made.failed("a")
    assert made.left_s("a") == 0
    made.failed("a")
    assert made.left_s("a") == 300


def test_a_failure_under_way_does_not_end_a_ban_early(clock: Clock) -> None:
    made = Bans(2, 300, clock)
    made.failed("a")
    made.failed("a")
    clock.now += WINDOW_S + 1
    made.failed("a")  # with a key that was known and has ended
    assert made.left_s("a") == 300 - WINDOW_S - 1


def test_nobody_is_banned_where_bans_are_off(clock: Clock) -> None:
    made = Bans(0, 300, clock)
    for _ in range(1000):
        made.failed("a")
    assert made.left_s("a") == 0


def test_many_addresses_cost_bounded_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bans, "MAX_ADDRESSES", 5)
    made = Bans(2, 300, clock)
    made.failed("first")
    for number in range(5):
        made.failed(str(number))
    made.failed("first")  # forgotten meanwhile: counted from one
    assert made.left_s("first") == 0
    made.failed("first")
    assert made.left_s("first") == 300


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("10.1.2.3", 80), "10.1.2.3"),
        (["10.1.2.3", 81], "10.1.2.3"),
        (("::ffff:10.1.2.3", 80), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 80), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9%eth0", 80), "2001:db8:1:2::/64"),
        (("no address", 80), ""),
        (None, ""),
        (("", 0), ""),
    ],
)
def test_what_counts_as_one_address(client: Any, address: str) -> None:
    assert address_of({"client": client}) == address
