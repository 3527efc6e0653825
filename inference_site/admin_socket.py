"""The admin's one WebSocket, /admin/socket/: live figures for logged-in staff.

In:  {"feed": "engine", "engine": id} or {"feed": "requests", "query": filters of the log's URL};
     a later message replaces the feed.
Out: one frame a second, as long as there is something to say.

A handshake needs a staff session and our own origin. The session is read again while the socket is
open: a login that ended, or lost its right, ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import redis.asyncio
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest, QueryDict
from django.http.request import split_domain_port, validate_host
from django.template.loader import render_to_string
from redis.exceptions import RedisError

from apps.models.health import EngineWatch
from apps.models.live import VIEW as MAY_SEE_ENGINES
from apps.models.live_feed import EngineFeed
from apps.usage import log as request_log
from apps.usage.views import VIEW as MAY_SEE_USAGE
from engine.errors import PagodaError

log = logging.getLogger(__name__)
TURN_S = 1.0
RECHECK_TURNS = 15
MOST_SOCKETS = 64  # per web process
REFUSED, FULL, BROKEN = 4403, 4429, 1011  # close codes
PERMISSIONS = {"engine": MAY_SEE_ENGINES, "requests": MAY_SEE_USAGE}
Scope = dict[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Read = Callable[[Callable[[], Any]], Awaitable[Any]]


class Feed(Protocol):
    async def frame(self) -> dict[str, Any] | None:
        """What to send this second; None for nothing."""


@dataclass(slots=True)
class EngineFigures:
    """The live engine page."""

    watch: EngineWatch
    feed: EngineFeed

    async def frame(self) -> dict[str, Any] | None:
        return await self.feed.frame((await self.watch.look()).beats)


class LogTail:
    """Rows stored since the last frame, rendered as the page renders them."""

    def __init__(self, read: Read, query: str) -> None:
        self._read = read
        self._form = request_log.LogForm(QueryDict(query))
        self._form.is_valid()
        self._last_pk: int | None = None

    async def frame(self) -> dict[str, Any] | None:
        rows: list[str] = await self._read(self._news)
        return {"feed": "requests", "rows": rows} if rows else None

    def _news(self) -> list[str]:
        if self._last_pk is None:
            self._last_pk = request_log.last_pk()
            return []
        # asked anew each time: an owner may have got a key
        filters = request_log.filters_of(self._form)
        found = request_log.newer_than(filters, self._last_pk)
        self._last_pk = found[-1].pk if found else self._last_pk
        return [render_to_string("console/request_row.html", {"row": row}) for row in found]


class AdminSockets:
    """Answers the sockets it is given and passes everything else on."""

    def __init__(
        self, site: App, watch: EngineWatch, read: Read, redis_url: Callable[[], str]
    ) -> None:
        self._site, self._watch, self._read, self._redis_url = site, watch, read, redis_url
        self._client: redis.asyncio.Redis | None = None  # made on the event loop that uses it
        self._open = 0

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await self._site(scope, receive, send)
            return
        await receive()  # websocket.connect
        headers = dict(scope["headers"])
        staff = own_origin(headers) and await self._read(lambda: staff_of(headers))
        if not staff:  # closed before it is accepted: the handshake is answered with 403
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})  # only so can the page learn why it ends
        if self._open >= MOST_SOCKETS:
            await send({"type": "websocket.close", "code": FULL})
            return
        self._open += 1
        try:
            await self._serve(headers, receive, send)
        finally:
            self._open -= 1

    async def _serve(self, headers: Mapping[bytes, bytes], receive: Any, send: Any) -> None:
        feeding: asyncio.Task[None] | None = None
        try:
            while (message := await receive())["type"] == "websocket.receive":
                await _ended(feeding)
                feeding = asyncio.create_task(self._fed(_asked(message), headers, send))
        finally:
            await _ended(feeding)

    async def _fed(self, asked: dict[str, Any], headers: Mapping[bytes, bytes], send: Any) -> None:
        """A feed that breaks ends its socket: the page comes back with a new one."""
        try:
            await self._feed(asked, headers, send)
        except OSError:
            return  # the page has left
        except Exception:
            log.exception("admin_feed_broken")
            await send({"type": "websocket.close", "code": BROKEN})

    async def _feed(self, asked: dict[str, Any], headers: Mapping[bytes, bytes], send: Any) -> None:
        """Frames until cancelled; closes the socket when the person may not see them (any more)."""
        feed = self._made(asked)
        needed = PERMISSIONS.get(str(asked.get("feed")), "")
        turn = 0
        while True:
            if turn % RECHECK_TURNS == 0 and not (
                feed and await self._read(lambda: staff_of(headers, needed))
            ):
                await send({"type": "websocket.close", "code": REFUSED})
                return
            frame = await _frame(feed) if feed else None
            if frame is not None:
                await send({"type": "websocket.send", "text": orjson.dumps(frame).decode()})
            turn += 1
            await asyncio.sleep(TURN_S)

    def _made(self, asked: dict[str, Any]) -> Feed | None:
        if asked.get("feed") == "requests":
            return LogTail(self._read, str(asked.get("query", ""))[:4000])
        if asked.get("feed") != "engine":
            return None
        if self._client is None:
            self._client = redis.asyncio.Redis.from_url(self._redis_url(), socket_timeout=2)
        engine = str(asked.get("engine", ""))[:64]
        return EngineFigures(self._watch, EngineFeed(self._client, engine))


def own_origin(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a page of this site opens the socket. Browsers always name their origin."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    domain, _ = split_domain_port(host)
    return bool(
        domain and validate_host(domain, settings.ALLOWED_HOSTS) and urlsplit(origin).netloc == host
    )


def staff_of(
    headers: Mapping[bytes, bytes], permission: str = ""
) -> AbstractBaseUser | AnonymousUser | None:
    """The session's user, if active staff with the permission. A few SQL queries."""
    cookies: SimpleCookie = SimpleCookie()
    with contextlib.suppress(CookieError):
        cookies.load(headers.get(b"cookie", b"").decode("latin-1"))
    morsel = cookies.get(settings.SESSION_COOKIE_NAME)
    if morsel is None:
        return None
    request = HttpRequest()
    request.session = importlib.import_module(settings.SESSION_ENGINE).SessionStore(morsel.value)
    user: Any = get_user(request)
    may = user.is_active and user.is_staff and (not permission or user.has_perm(permission))
    return user if may else None


async def _frame(feed: Feed) -> dict[str, Any] | None:
    """A frame, or the words for what keeps us from it."""
    try:
        return await feed.frame()
    except RedisError:
        return {"feed": "trouble", "text": "Redis cannot be reached."}
    except PagodaError as error:
        return {"feed": "trouble", "text": error.message}


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


def _asked(message: dict[str, Any]) -> dict[str, Any]:
    """The page's wish; what is none becomes an empty one, which no feed answers."""
    try:
        found = orjson.loads(message.get("text") or "")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
