"""The writing end of one response, and the watch over all of them.

The watch turns once a second and does two things for every open response: a client that has not
taken a byte for `write_stall_s` is cut off, and a stream silent for `keep_alive_s` gets a comment.
That costs a request nothing, where a timer per chunk would.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from apps.api.answers import KEEP_ALIVE
from apps.api.bodies import Copy
from apps.api.caps import ApiSettings
from engine.errors import PagodaError

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
TICK_S = 1.0
LINGER_S = 0.5
LINGER_BYTES = 512 * 1024


class ResponseWriter:
    """Sends one response. `opened` tells whether the status has left."""

    def __init__(self, send: Send) -> None:
        self.opened = False
        self.task: asyncio.Task[Any] | None = asyncio.current_task()
        self.stalled = False
        self.cut: PagodaError | None = None  # the reason a running stream was ended from outside
        self.copy: Copy | None = None  # of a key that keeps its texts
        self._send_message = send
        self._loop = asyncio.get_running_loop()
        self._blocked_since: float | None = None
        self._last_s = self._loop.time()
        self._stream_headers: Headers | None = None
        self._on_open: Callable[[], None] | None = None
        self._ping: asyncio.Task[None] | None = None

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A complete response."""
        self._stream_headers = None
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def refuse_upload(
        self, status: int, headers: Headers, body: bytes, receive: Receive
    ) -> None:
        """Answer a body that is too large, then close. What the client still sends is read for a
        moment: closing at once would reset the connection before the client saw the answer."""
        headers = [*headers, (b"connection", b"close"), (b"content-length", b"%d" % len(body))]
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await _discard(receive)
        await self._send({"type": "http.response.body"})

    def prepare_stream(self, headers: Headers, on_open: Callable[[], None]) -> None:
        """From now on the watch may open the stream for a keep-alive comment."""
        self._stream_headers = headers
        self._on_open = on_open

    async def write(self, data: bytes) -> None:
        """One piece of a stream; the first one takes the headers with it."""
        if self._ping is not None:
            await self._settle_ping()
        await self._piece(data)

    async def finish(self, data: bytes) -> None:
        """The last piece."""
        if self._ping is not None:
            await self._settle_ping()
        if not self.opened:
            await self._open_stream()
        await self._send({"type": "http.response.body", "body": data})

    def look(self, now: float, settings: ApiSettings) -> None:
        """Called by the watch."""
        if self._blocked_since is not None:
            if now - self._blocked_since >= settings.write_stall_s:
                self.stalled = True
                self.interrupt(None)
        elif self._stream_headers is not None and now - self._last_s >= settings.keep_alive_s:
            if self._ping is None or self._ping.done():
                self._ping = self._loop.create_task(self._comment())
            self._last_s = now

    def interrupt(self, reason: PagodaError | None) -> None:
        """Stop the handler: it aborts in the engine, then sends `reason` if there is one."""
        if self.task is not None:
            self.cut = reason
            self.task.cancel()
            self.task = None

    async def close(self) -> None:
        """Nothing is sent after this."""
        self.task = None
        if self._ping is not None:
            self._ping.cancel()
            await self._settle_ping()

    async def _comment(self) -> None:
        if self._stream_headers is not None:  # not refused since the watch looked
            await self._piece(KEEP_ALIVE)

    async def _piece(self, data: bytes) -> None:
        if not self.opened:
            await self._open_stream()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _open_stream(self) -> None:
        assert self._stream_headers is not None
        if self._on_open is not None:
            self._on_open()
        await self._start(200, self._stream_headers)

    async def _start(self, status: int, headers: Headers) -> None:
        self.opened = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _send(self, message: dict[str, Any]) -> None:
        if self.copy is not None:
            self.copy.add(message.get("body", b""))
        self._blocked_since = self._loop.time()
        await self._send_message(message)
        self._last_s = self._loop.time()
        self._blocked_since = None

    async def _settle_ping(self) -> None:
        """Wait for the watch's comment, so that two writers never interleave."""
        ping, self._ping = self._ping, None
        if ping is not None:
            await asyncio.wait([ping])


class Watch:
    """Looks after every open response of this process."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._writers: set[ResponseWriter] = set()

    def add(self, writer: ResponseWriter) -> None:
        self._writers.add(writer)

    def remove(self, writer: ResponseWriter) -> None:
        self._writers.discard(writer)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            now = loop.time()
            for writer in list(self._writers):
                writer.look(now, self._settings)


async def _discard(receive: Receive) -> None:
    size = 0
    while size < LINGER_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return
        size += len(message.get("body", b""))


def abort_connection(scope: Mapping[str, Any]) -> None:
    """Drop the socket of a client that reads nothing: closing politely would wait for it for ever.

    The outermost layer put it into the scope; servers that hide theirs just close.
    """
    transport = scope.get("pagoda_transport")
    if transport is not None:
        transport.abort()
