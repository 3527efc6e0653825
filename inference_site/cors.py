"""Cross-origin calls: which web pages may use the API from a browser. Off until origins are named.

The API knows no cookies, so nothing is allowed with credentials; the admin is never opened.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from engine.settings import SettingError
from inference_site.config import ServerSettings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ALL = "*"
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")
SHOWN = b"x-request-id, x-client-request-id, x-pagoda-ignored, retry-after, server-timing"
MAX_AGE_S = b"600"


@dataclass(frozen=True, slots=True)
class CorsRules:
    """What pages of other origins may do."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]

    @classmethod
    def of(cls, settings: ServerSettings) -> CorsRules | None:
        """None: no origin is allowed. Raises `SettingError` for a list that is none."""
        origins = names("PAGODA_ALLOWED_ORIGINS", settings.allowed_origins)
        methods = names("PAGODA_ALLOWED_METHODS", settings.allowed_methods)
        headers = names("PAGODA_ALLOWED_HEADERS", settings.allowed_headers)
        return cls(origins, methods, headers) if origins else None

    def allows(self, origin: str) -> bool:
        return ALL in self.origins or origin in self.origins


class CorsApp:
    """Answers preflights and adds the headers a browser asks for; the rest is `app`'s."""

    def __init__(self, app: App, rules: CorsRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/admin"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or not self._rules.allows(origin):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            wanted = headers.get(b"access-control-request-headers", b"")
            await self._preflight(origin, wanted, send)
        else:
            await self._app(scope, receive, _with_headers(send, self._common(origin)))

    async def _preflight(self, origin: str, wanted: bytes, send: Send) -> None:
        rules = self._rules
        methods = METHODS if ALL in rules.methods else rules.methods
        allowed = wanted if ALL in rules.headers else ", ".join(rules.headers).encode()
        headers = [
            *self._common(origin),
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", allowed),
            (b"access-control-max-age", MAX_AGE_S),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _common(self, origin: str) -> list[tuple[bytes, bytes]]:
        allowed = ALL if ALL in self._rules.origins else origin
        return [
            (b"access-control-allow-origin", allowed.encode("latin-1")),
            (b"access-control-expose-headers", SHOWN),
            (b"vary", b"Origin"),
        ]


def with_cors(app: App, settings: ServerSettings) -> App:
    """`app` itself when no origin is allowed."""
    rules = CorsRules.of(settings)
    return app if rules is None else CorsApp(app, rules)


def names(setting: str, text: str) -> tuple[str, ...]:
    """`["a", "b"]` or `a, b` → (a, b). Raises `SettingError` for other JSON."""
    if not text.strip().startswith(("[", '"', "{")):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
        raise SettingError(f'{setting}={text!r} is no list: write ["https://a.example"].')
    return tuple(found)


def _with_headers(send: Send, more: Iterable[tuple[bytes, bytes]]) -> Send:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *more]
        await send(message)

    return sending
