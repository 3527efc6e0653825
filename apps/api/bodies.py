"""The texts of requests whose key keeps them, on their way from a web process to the database.

They wait here for a moment and go in batches, off the event loop; they never enter Redis or a log.
"""

from __future__ import annotations

import logging
from functools import partial

from apps.api.snapshot import Database
from apps.usage.bodies import MAX_BYTES, Body, bodies_add
from engine.errors import Overloaded

log = logging.getLogger(__name__)
MAX_WAITING = 64 << 20  # bytes; with the database away longer than that, the newest are dropped
BATCH = 50


class Copy:
    """Grows beside an answer: its first `MAX_BYTES`, and how long it was."""

    __slots__ = ("_parts", "_request", "_room", "key_id", "rid", "size")

    def __init__(self, rid: str, key_id: str, request: bytes) -> None:
        self.rid, self.key_id = rid, key_id
        self.size = 0
        self._request = request
        self._parts: list[bytes] = []
        self._room = MAX_BYTES

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self._room:
            self._parts.append(data[: self._room])
            self._room -= len(self._parts[-1])

    def body(self) -> Body:
        return Body(
            rid=self.rid,
            key_id=self.key_id,
            request=self._request[:MAX_BYTES],
            request_bytes=len(self._request),
            answer=b"".join(self._parts),
            answer_bytes=self.size,
        )


class BodyQueue:
    """`put()` on the event loop, `flush()` from time to time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Body] = []
        self._bytes = 0

    def put(self, copy: Copy) -> None:
        body = copy.body()
        size = len(body.request) + len(body.answer)
        if self._bytes + size > MAX_WAITING:
            log.error("body_dropped", extra={"rid": body.rid, "cause": "the database is behind"})
            return
        self._waiting.append(body)
        self._bytes += size

    async def flush(self) -> None:
        """Store what waits. What the database does not take stays for the next time."""
        while batch := self._waiting[:BATCH]:
            try:
                await self._database.read(partial(bodies_add, batch))
            except Overloaded:
                return  # `Database` has logged why
            del self._waiting[: len(batch)]
            self._bytes -= sum(len(body.request) + len(body.answer) for body in batch)
