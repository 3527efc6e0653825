"""The first thing a request meets: generation routes, then authentication of all the rest.

Deny by default: whatever is not on the public lists needs a key, existing or not. Only then does
Django see it, with the key in `scope["pagoda_key"]` and our request id in `scope["pagoda_rid"]`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from apps.api import stream_socket
from apps.api.auth import FRESH_S, authenticate, remembered
from apps.api.bans import Bans, address_of, banned
from apps.api.body import Disconnected, Header, Receive, check_headers, header, read_body
from apps.api.config import api_caps, api_settings, client_settings
from apps.api.errors import public_error
from apps.api.generation import ChatCompletions, Completions
from apps.api.messages import CountTokens, Messages
from apps.api.messages_answer import error_body
from apps.api.pooling_consumers import POOLING_CONSUMERS
from apps.api.replies import refuse
from apps.api.responses import ResponseById, Responses
from apps.api.runtime import WebRuntime
from apps.api.writer import ResponseWriter, Send
from apps.lora.uploads import is_upload, receive_file
from engine.client import new_rid
from engine.errors import InvalidRequest, PagodaError
from inference_site.redis import redis_url

log = logging.getLogger(__name__)

Scope = dict[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
CONSUMERS = (
    Completions,
    ChatCompletions,
    Responses,
    Messages,
    CountTokens,
    *POOLING_CONSUMERS,
)
PUBLIC_PATHS = frozenset(
    {
        "/livez",
        "/readyz",
        "/health",
        "/ping",
        "/version",
        "/metrics",  # guards itself: networks or the metrics scope
        "/docs",
        "/openapi.json",
        "/admin",
        "/account",
        "/favicon.ico",
    }
)
ADMIN_SOCKET = "/admin/socket/"
PUBLIC_PREFIXES = ("/admin/", "/account/", "/static/")  # pages have a login of their own


def is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


class ApiApp:
    """The ASGI application of a web process, around Django's."""

    def __init__(self, site: App, make_runtime: Callable[[], WebRuntime], bans: Bans) -> None:
        self._site = site
        self._make_runtime = make_runtime
        self._runtime: WebRuntime | None = None
        self._starting = asyncio.Lock()
        self._routes: dict[str, App] = {}
        self._bans = bans

    @property
    def runtime(self) -> WebRuntime | None:
        """None until the process has started."""
        return self._runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        runtime = self._runtime or await self.start()
        scope["pagoda_rid"] = new_rid()
        if scope["type"] == "websocket" and scope["path"] == ADMIN_SOCKET:
            await self._site(scope, receive, send)  # has a login of its own
            return
        address = address_of(scope)
        if not address:
            scope["client"] = None  # text that is no address would not fit into the audit log
        left_s = self._bans.left_s(address)
        if left_s and _tries_a_key(scope) and not remembered(runtime.keys, scope["headers"]):
            await _turn_away(banned(left_s), scope, receive, send)
        else:
            await self._route(runtime, scope, receive, self._counting(address, send))

    async def _route(self, runtime: WebRuntime, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await stream_socket.serve(runtime, self._routes, scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith(ResponseById.route):
            path = ResponseById.route
        route = self._routes.get(path)
        if route is not None:
            await route(scope, receive, send)
        elif is_upload(scope["path"]):
            await receive_file(runtime, scope, receive, send)
        else:
            await self._guarded(runtime, scope, receive, send)

    def _counting(self, address: str, send: Send) -> Send:
        async def counting(message: dict[str, Any]) -> None:
            if message.get("status") == 401:
                self._bans.failed(address)
            await send(message)

        return counting

    async def start(self) -> WebRuntime:
        """Make the runtime on this event loop. Servers without lifespan get it on first use."""
        async with self._starting:
            if self._runtime is None:
                runtime = self._make_runtime()
                await runtime.start()
                self._routes = {
                    c.route: c.as_asgi(runtime=runtime) for c in (*CONSUMERS, ResponseById)
                }
                self._runtime = runtime
        return self._runtime

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except Exception as error:
                    log.error("web_start_failed", exc_info=error)
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                gc.collect()
                gc.freeze()  # modules are for ever: a full collection over them halts all streams
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._runtime is not None:
                    await self._runtime.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _guarded(
        self, runtime: WebRuntime, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Authenticate and bound the body, then hand over to Django."""
        rid, headers = scope["pagoda_rid"], scope["headers"]
        try:
            if not is_public(scope["path"]):
                scope["pagoda_key"] = await authenticate(
                    runtime.keys, header(headers, b"authorization"), FRESH_S
                )
            check_headers(headers)
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                raise InvalidRequest("A URL cannot hold the character NUL.")  # nor can PostgreSQL
            receive = await _bounded(receive, headers, runtime.caps.max_body)
        except Disconnected:
            return
        except Exception as error:
            await refuse(public_error(error, rid), rid, ResponseWriter(send), receive)
            return
        await self._site(scope, receive, _with_rid(send, rid))


def _tries_a_key(scope: Scope) -> bool:
    """Public routes without a key stay open: probes of this address may go on."""
    return not is_public(scope["path"]) or header(scope["headers"], b"authorization") is not None


async def _turn_away(error: PagodaError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        await stream_socket.refuse_handshake(error, scope, send)
    else:
        rid, body = scope["pagoda_rid"], None
        if scope["path"].startswith(Messages.route):
            body = error_body(error, rid)
        await refuse(error, rid, ResponseWriter(send), receive, body)


async def _bounded(receive: Receive, headers: list[Header], cap: int) -> Receive:
    """Read the body, at most `cap` bytes, and replay it: Django would spool any size to disk."""
    first: list[dict[str, Any]] = [
        {"type": "http.request", "body": await read_body(receive, headers, cap)}
    ]

    async def replay() -> dict[str, Any]:
        return first.pop() if first else await receive()

    return replay


def _with_rid(send: Send, rid: str) -> Send:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"x-request-id", rid.encode())]
        await send(message)

    return sending


def api_app(site: App) -> ApiApp:
    """The application around Django's, with settings from the environment."""
    settings = api_settings()
    return ApiApp(
        site,
        lambda: WebRuntime(
            redis_url(), caps=api_caps(), settings=settings, client_settings=client_settings()
        ),
        Bans(settings.ban_after, settings.ban_s),
    )
