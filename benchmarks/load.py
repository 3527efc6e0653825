"""HTTP load for OpenAI-style servers: one asyncio protocol a connection, keep-alive, no client
library, so that the client is not what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

EVENT = b"data:"
HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Reply:
    """One answer: status, seconds, and when its events arrived (seconds, how many)."""

    status: int = 0
    seconds: float = 0.0
    events: list[tuple[float, int]] = field(default_factory=list)
    body: bytes = b""


class Connection(asyncio.Protocol):
    """Sends one request at a time and knows when its answer is complete."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.done: asyncio.Future[Reply] | None = None

    def connection_lost(self, error: Exception | None) -> None:
        if self.done and not self.done.done():
            self.done.set_exception(error or ConnectionError("closed by the server"))

    async def ask(self, raw: bytes) -> Reply:
        self.reply, self.head, self.rest, self.edge = Reply(), b"", -1, b""
        self.chunked, self.tail = False, b""
        self.done = asyncio.get_running_loop().create_future()
        self.began = time.perf_counter()
        self.transport.write(raw)
        return await asyncio.wait_for(self.done, 300)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.reply.status:
            self.head += data
            if (end := self.head.find(HEAD_END)) < 0:
                return
            data = self.head[end + len(HEAD_END) :]
            self._read_head(self.head[:end].lower())
        self._count_events(data, now)
        if self.reply.status != 200:
            self.reply.body += data
        self.tail = (self.tail + data)[-7:]
        self.rest -= len(data)
        complete = self.tail.endswith(b"\r\n0\r\n\r\n") if self.chunked else self.rest <= 0
        if complete and self.done and not self.done.done():
            self.reply.seconds = now - self.began
            self.done.set_result(self.reply)

    def _read_head(self, head: bytes) -> None:
        self.reply.status = int(head.split(b" ", 2)[1])
        self.chunked = b"transfer-encoding: chunked" in head
        if not self.chunked:
            self.rest = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])

    def _count_events(self, data: bytes, now: float) -> None:
        seen = self.edge + data
        if count := seen.count(EVENT):
            self.reply.events.append((now - self.began, count))
        self.edge = seen[1 - len(EVENT) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send what."""

    port: int
    key: str
    body: dict[str, Any]
    path: str = "/v1/chat/completions"

    def raw(self) -> bytes:
        body = json.dumps(self.body).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def fire(
    target: Target, connections: int, *, seconds: float = 0.0, per: int = 0
) -> tuple[list[Reply], float]:
    """Every connection asks `per` times, or until `seconds` are over. Returns replies and wall
    seconds. Raises RuntimeError on the first answer that is not 200."""
    loop, raw = asyncio.get_running_loop(), target.raw()
    open_ = [
        (await loop.create_connection(Connection, "127.0.0.1", target.port))[1]
        for _ in range(connections)
    ]
    replies: list[Reply] = []
    began = time.perf_counter()

    async def worker(connection: Connection) -> None:
        asked = 0
        while asked < per if per else time.perf_counter() - began < seconds:
            asked += 1
            reply = await connection.ask(raw)
            if reply.status != 200:
                raise RuntimeError(f"{reply.status} {reply.body[:300]!r}")
            replies.append(reply)

    await asyncio.gather(*(worker(c) for c in open_))
    wall = time.perf_counter() - began
    for connection in open_:
        connection.transport.close()
    return replies, wall


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def gaps(replies: list[Reply], *, after_s: float = 0.0) -> list[float]:
    """Seconds between successive events of each stream; events of one read are 0 apart.

    `after_s` leaves out what came in the first seconds of a stream, when all begin at once.
    """
    out: list[float] = []
    for reply in replies:
        previous = reply.events[0][0]
        for at, count in reply.events[1:]:
            if previous >= after_s:
                out.append(at - previous)
                out.extend([0.0] * (count - 1))
            previous = at
    return out
