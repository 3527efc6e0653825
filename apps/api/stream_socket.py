"""WebSocket /v1/stream: many requests on one socket, each a whole exchange of its own.

In:  a chat or completions body with `id` (chosen by the client, free again after its last frame)
     and `type` ("chat" or "completions"); or {"type": "cancel", "id"}. `stream` is true by default.
Out: {"id", "type": "chunk" | "response", "data"}, then exactly one of {"id", "type": "done"},
     {"id", "type": "cancelled"} and {"id", "type": "error", "error"}.

Every message runs through the route's own consumer as if it had come by HTTP, with the headers of
the handshake: the key is checked again, limits, counts and revocation hold as they do there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from django.conf import settings

from apps.api.auth import FRESH_S, authenticate, require_scope
from apps.api.body import Header, Receive, check_headers, header, parse_object
from apps.api.errors import body_of, headers_of, json_of, public_error, unknown_route
from apps.api.runtime import WebRuntime
from apps.api.writer import Send
from engine.client import new_rid
from engine.errors import BodyTooLarge, InvalidRequest, PagodaError, PermissionDenied, RateLimited

ROUTE = "/v1/stream"
TYPES = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
MAX_OPEN = 64  # requests at the same time on one socket
MAX_ID_CHARS = 128
CLOSED = 4400  # close code where a server cannot answer a handshake with a status
JSON = (b"content-type", b"application/json")
Consumer = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


async def serve(
    runtime: WebRuntime, consumers: Mapping[str, Consumer],
    scope: dict[str, Any], receive: Receive, send: Send,
) -> None:  # fmt: skip
    """Answer a handshake on any path: only `ROUTE` with a good key is accepted."""
    await receive()  # websocket.connect
    try:
        await _check(runtime, scope)
    except Exception as error:
        await refuse_handshake(public_error(error, scope["pagoda_rid"]), scope, send)
        return
    await send({"type": "websocket.accept"})
    await Socket(runtime, consumers, scope, send).run(receive)


async def _check(runtime: WebRuntime, scope: dict[str, Any]) -> None:
    headers: list[Header] = scope["headers"]
    key = await authenticate(runtime.keys, header(headers, b"authorization"), FRESH_S)
    check_headers(headers)
    if scope["path"] != ROUTE:
        raise unknown_route(scope["path"])
    require_scope(key, "inference")
    origin = header(headers, b"origin")  # only browsers send one
    if origin is not None and origin.decode("latin-1") not in settings.CSRF_TRUSTED_ORIGINS:
        raise PermissionDenied("Pages of this origin may not open sockets here.")


async def refuse_handshake(error: PagodaError, scope: dict[str, Any], send: Send) -> None:
    """Answer a handshake with an error in place of a socket."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": CLOSED})
        return
    headers = [JSON, (b"x-request-id", scope["pagoda_rid"].encode()), *headers_of(error)]
    start = {"type": "websocket.http.response.start", "status": error.status, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": json_of(error)})


class Socket:
    """One accepted socket and its open exchanges."""

    def __init__(
        self, runtime: WebRuntime, consumers: Mapping[str, Consumer], scope: dict[str, Any],
        send: Send,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._consumers = consumers
        own = [h for h in scope["headers"] if h[0] in (b"authorization", b"x-request-id")]
        self._scope = {
            "type": "http",
            "method": "POST",
            "headers": [*own, JSON],
            "pagoda_transport": scope.get("pagoda_transport"),
        }
        self._send = send
        self._open: dict[str, Exchange] = {}
        self._gone = False

    async def run(self, receive: Receive) -> None:
        """Until the client leaves; what is open then is aborted in the engines."""
        async with asyncio.TaskGroup() as tasks:
            while (message := await receive())["type"] == "websocket.receive":
                await self._take(message, tasks)
            self._gone = True
            for exchange in self._open.values():
                exchange.leave()

    def release(self, exchange: Exchange) -> None:
        """Its id is free: a client may use it again as soon as it sees the last frame."""
        del self._open[exchange.name]

    async def frame(self, fields: dict[str, Any]) -> None:
        await self.text(orjson.dumps(fields))

    async def text(self, data: bytes) -> None:
        if self._gone:
            return
        try:
            await self._send({"type": "websocket.send", "text": data.decode()})
        except OSError:
            self._gone = True  # `run` hears of it too

    async def _take(self, message: dict[str, Any], tasks: asyncio.TaskGroup) -> None:
        name: str | None = None
        try:
            body = await self._parsed(message)
            name, kind = _named(body)
            if kind == "cancel":
                if name in self._open:  # else it has just ended
                    self._open[name].leave()
                return
            self._check_room(name)
        except PagodaError as error:
            await self.frame({"id": name, "type": "error", **body_of(error)})
            return
        if body.get("stream") is None:
            body["stream"] = True
        exchange = self._open[name] = Exchange(self, name, orjson.dumps(body))
        tasks.create_task(self._exchange(exchange, TYPES[kind]))

    async def _parsed(self, message: dict[str, Any]) -> dict[str, Any]:
        text = message.get("text")
        if text is None:
            raise InvalidRequest("A message must be text, not binary.")
        data = text.encode()
        if len(data) > (cap := self._runtime.caps.max_body):
            raise BodyTooLarge(f"The message is larger than {cap} bytes.")
        return await self._runtime.prompts.near(len(data) // 16, lambda: parse_object(data))

    def _check_room(self, name: str) -> None:
        if name in self._open:
            raise InvalidRequest("'id' belongs to a request that is still open.", param="id")
        if len(self._open) >= MAX_OPEN:
            raise RateLimited(
                f"{MAX_OPEN} requests are open on this socket; wait for one or open another.",
                param="socket",
                retry_after_s=1,
            )

    async def _exchange(self, exchange: Exchange, route: str) -> None:
        scope = self._scope | {"path": route, "pagoda_rid": new_rid()}
        try:
            await self._consumers[route](scope, exchange.receive, exchange.send)
        finally:
            if not exchange.ended:
                self.release(exchange)
                await self.frame({"id": exchange.name, "type": "cancelled"})


class Exchange:
    """One request of a socket in the shape of an HTTP request and its response."""

    def __init__(self, socket: Socket, name: str, body: bytes) -> None:
        self.name = name
        self.ended = False
        self._socket = socket
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self._status = 0
        self._streams = False
        self._head = b'{"id":' + orjson.dumps(name) + b',"type":"'

    def leave(self) -> None:
        """The client wants no more of it."""
        self._left.set()

    async def receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if self.ended:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._streams = dict(message["headers"])[b"content-type"] != JSON[1]
        elif self._streams:
            for event in message["body"].split(b"\n\n"):
                if event.startswith(b"data: "):  # not a keep-alive: the socket has its own pings
                    await self._event(event[6:])
        elif body := message.get("body"):
            await self._answered(body)

    async def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            await self._end(b'done"}')
        elif data.startswith(b'{"error":'):
            await self._end(b'error",' + data[1:])
        else:
            await self._socket.text(self._head + b'chunk","data":' + data + b"}")

    async def _answered(self, body: bytes) -> None:
        """A response that is not a stream comes in one piece."""
        if self._status != 200:
            await self._end(b'error",' + body[1:])
            return
        await self._socket.text(self._head + b'response","data":' + body + b"}")
        await self._end(b'done"}')

    async def _end(self, rest: bytes) -> None:
        self.ended = True
        self._socket.release(self)
        await self._socket.text(self._head + rest)


def _named(body: dict[str, Any]) -> tuple[str, str]:
    """Take `id` and `type` out of a message. Raises `InvalidRequest`."""
    name, kind = body.pop("id", None), body.pop("type", None)
    if not (isinstance(name, str) and 1 <= len(name) <= MAX_ID_CHARS):
        raise InvalidRequest(f"'id' must be text of 1 to {MAX_ID_CHARS} characters.", param="id")
    if kind not in (*TYPES, "cancel"):
        raise InvalidRequest("'type' must be chat, completions or cancel.", param="type")
    return name, kind
