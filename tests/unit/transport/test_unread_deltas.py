"""Deltas nobody has read yet: joined without loss, bounded in bytes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from engine.errors import Overloaded
from engine.messages import Bill, ChoiceDelta, Counts, Delta, EventKind, Finish, QueueBody
from engine.request_stream import BUFFER_BYTES, MERGE_FROM, RequestStream
from engine.sampling_params import SamplingParams


def make_stream() -> RequestStream:
    body = QueueBody(
        rid="r",
        attempt=1,
        web="w",
        model="m",
        prompts=[[1]],
        params=SamplingParams(),
        deadline_ms=0,
    )

    def post(call: Any, *, patience_s: float = 0.0) -> Any:
        raise AssertionError("nothing is sent here")

    late = time.monotonic() + 60
    return RequestStream(
        body, Bill(key_id="k"), post=post, wait_until=late, wait_s=1, dead_at=late, patience_s=1
    )


def feed(stream: RequestStream, seq: int, *choices: ChoiceDelta, end: bool = False) -> None:
    kind = EventKind.END if end else EventKind.DELTA
    counts = Counts() if end else None
    stream.push(Delta("r", 1, seq, kind, list(choices), counts=counts), "engine")


async def test_a_reader_that_falls_behind_gets_every_token_of_every_choice() -> None:
    stream = make_stream()
    steps = MERGE_FROM * 4
    for seq in range(steps):
        feed(stream, seq, ChoiceDelta(0, [seq]), ChoiceDelta(1, [seq, seq]))
    feed(stream, steps, end=True)
    got: dict[int, list[int]] = {0: [], 1: []}
    seen = 0
    async for delta in stream:
        seen += 1
        for choice in delta.choices:
            got[choice.index] += choice.token_ids
    assert got[0] == list(range(steps))
    assert got[1] == [seq for seq in range(steps) for _ in range(2)]
    assert seen <= MERGE_FROM + 1


async def test_bytes_of_joined_deltas_are_given_back_when_read() -> None:
    stream = make_stream()
    reader = stream.__aiter__()
    seq = 0
    for _ in range(100):
        for _ in range(MERGE_FROM * 2):
            feed(stream, seq, ChoiceDelta(0, [1]))
            seq += 1
        while stream._unread:
            await anext(reader)
    assert stream._unread_bytes == 0


async def test_text_held_for_a_stop_string_is_released_by_the_last_delta() -> None:
    stream = make_stream()
    for seq in range(MERGE_FROM + 1):
        feed(stream, seq, ChoiceDelta(0, [1], keep_chars=3))
    feed(stream, MERGE_FROM + 1, ChoiceDelta(0, [1], finish=Finish.LENGTH))
    feed(stream, MERGE_FROM + 2, end=True)
    last = [delta async for delta in stream][-2].choices[0]
    assert (last.finish, last.keep_chars) == (Finish.LENGTH, None)


async def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    stream = make_stream()
    for seq in range(BUFFER_BYTES // 40 + 1):
        feed(stream, seq, ChoiceDelta(0, [1]))
    with pytest.raises(Overloaded, match="too slowly"):
        await stream.whole()
