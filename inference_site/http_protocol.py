"""uvicorn's HTTP protocol with an end to request heads, and a stop that waits for the last of them.

The parser takes headers of any size and joins the pieces of a long one in quadratic time: 100 MiB
of header froze a process for 52 s and stayed in its memory, before anybody was asked for a key.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inference_site.leaving import LEAVING

HEAD_BYTES = 64 * 1024  # a head that came in one read may be larger; the application refuses it
HEAD_S = 30.0
LAST_HEAD_S = 5.0  # from the stop of a server that has turned callers away
TOO_LARGE = (
    b'{"error":{"message":"The headers are larger than 65536 bytes in all.",'
    b'"type":"invalid_request_error","param":null,"code":null}}'
)


class BoundedHeadProtocol(HttpToolsProtocol):
    """Ends a connection whose head is too large, or not complete after `HEAD_S`.

    uvicorn's `shutdown` closes a connection that has been accepted but not read yet: the caller
    sees a reset, and a proxy does not send a POST again that somebody may have read. Here such a
    connection gets `LAST_HEAD_S` to bring its request, which is answered as the last one.
    """

    _in_head = False
    _last = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            head = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"
            head += b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % len(TOO_LARGE) + TOO_LARGE)
            self.transport.close()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def shutdown(self) -> None:
        if LEAVING not in self.app_state or (self.cycle is not None and not self._in_head):
            super().shutdown()
            return
        self._last = True
        self._stop_timer()
        self._timer = self.loop.call_later(LAST_HEAD_S, self.transport.close)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()
        if self._last and self.cycle is not None:
            self.cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        if self._last:
            sockets: Any = self.transport.get_protocol()  # took this connection over
            sockets.shutdown()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
