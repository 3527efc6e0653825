"""Stream replies of both protocols and of servers 6.2 and 7 read the same."""

from __future__ import annotations

import pytest

from engine import streams

ENTRY = (b"1-1", {b"f": b"x"})


@pytest.mark.parametrize(
    "reply",
    [
        [[b"s", [ENTRY]]],  # RESP2
        {b"s": [[ENTRY]]},  # RESP3 as redis-py hands it out
        {b"s": [ENTRY]},
    ],
)
def test_new_entries_by_stream(reply):
    assert streams.by_stream(reply) == {"s": [("1-1", {b"f": b"x"})]}


@pytest.mark.parametrize("reply", [None, [], {}])
def test_no_news(reply):
    assert streams.by_stream(reply) == {}


@pytest.mark.parametrize("reply", [[b"0-0", [ENTRY]], [b"0-0", [ENTRY], [b"9-9"]]])
def test_claimed_entries_of_6_2_and_7(reply):
    assert streams.claimed(reply) == ("0-0", [("1-1", {b"f": b"x"})])


def test_deleted_entries_are_left_out():
    assert streams.claimed([b"0-0", [(None, None), ENTRY, (b"1-2", None)]])[1] == [
        ("1-1", {b"f": b"x"})
    ]
