"""The only road from request tasks to Redis: a queue of script calls and one task that sends them.

A cancelled request never leaves a half-read reply on a connection, calls keep their order, and
what piles up while a round trip is under way travels in the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from engine.scripts import Call, run_all_async

BATCH = 128
BACKOFF_S = (0.02, 0.05, 0.1, 0.2, 0.5)
NOT_WRITABLE = ("MISCONF", "READONLY")  # a full disk, or no longer the primary


class RedisAway(Exception):
    """Redis could not be reached in the time this call had."""


@dataclass(slots=True)
class _Item:
    call: Call
    until: float  # monotonic; inf = until it worked
    future: asyncio.Future[Any]


class ScriptQueue:
    """Sends calls in order, again after a lost connection: every script may be repeated."""

    def __init__(self, client: redis.asyncio.Redis, on_error: Callable[[Exception], None]) -> None:
        self._client = client
        self._on_error = on_error
        self._items: asyncio.Queue[_Item] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._busy = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._pump(), name="redis-scripts")

    def post(self, call: Call, *, patience_s: float = math.inf) -> asyncio.Future[Any]:
        """Queue a call; the future gets the reply, `ResponseError` or `RedisAway`.

        Bounded by the number of open requests: each has at most one call it waits for and one
        it leaves behind.
        """
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(_look)
        self._items.put_nowait(_Item(call, time.monotonic() + patience_s, future))
        return future

    async def close(self, flush_s: float) -> None:
        """Give queued calls `flush_s` seconds, then stop."""
        end = time.monotonic() + flush_s
        while (self._busy or not self._items.empty()) and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # once per process, while it stops
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _pump(self) -> None:
        while True:
            batch = [await self._items.get()]
            self._busy = True
            failures = 0
            while batch:
                while len(batch) < BATCH and not self._items.empty():
                    batch.append(self._items.get_nowait())
                try:
                    replies = await run_all_async(self._client, [item.call for item in batch])
                except (TimeoutError, RedisError, OSError) as error:
                    self._on_error(error)
                    batch = _unexpired(batch)
                    await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                    failures += 1
                    continue
                batch = self._answer(batch, replies)
                if batch:
                    await asyncio.sleep(BACKOFF_S[-1])
            self._busy = False

    def _answer(self, batch: list[_Item], replies: list[Any]) -> list[_Item]:
        """Hand out replies. Returns what must be sent again: Redis was loading or not writable."""
        again = []
        for item, reply in zip(batch, replies, strict=True):
            if item.future.done():
                continue  # the caller is gone; it has posted what undoes this call
            if isinstance(reply, ResponseError) and not _passes(reply):
                item.future.set_exception(reply)
            elif isinstance(reply, Exception):
                self._on_error(reply)
                again.append(item)
            else:
                item.future.set_result(reply)
        return _unexpired(again)


def _unexpired(batch: list[_Item]) -> list[_Item]:
    now = time.monotonic()
    for item in batch:
        if item.until <= now and not item.future.done():
            item.future.set_exception(RedisAway("Redis did not answer in time."))
    return [item for item in batch if item.until > now]


def _passes(error: ResponseError) -> bool:
    """Nothing is wrong with the call: Redis takes no writes for now. A script's error names the
    cause somewhere in its text."""
    return any(word in str(error) for word in NOT_WRITABLE)


def _look(future: asyncio.Future[Any]) -> None:
    """Read the exception, so that calls nobody waits for make no noise at garbage collection."""
    if not future.cancelled():
        future.exception()
