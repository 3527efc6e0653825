"""HTTP figures of a web process, for every response whoever answers it: the outermost layer.

prometheus_client's multiprocess mode adds the processes up; `inference_site.metrics` shows them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Histogram

from apps.models.health import App, Scope

REQUESTS = Counter("pagoda_http_requests", "Responses by route and status.", ["route", "status"])
SECONDS = Histogram("pagoda_http_request_seconds", "Time to the end of a response.", ["route"])
MACHINES_ASK = frozenset({"/livez", "/readyz", "/health", "/ping", "/metrics"})
SITE_ROUTES = frozenset({"/v1/models", "/tokenize", "/detokenize"})


class CountedApp:
    """Notes route, status and time of every response. Paths that are no route share one label.

    Probes and scrapes are left out: a 503 of theirs is an answer, and no caller's error."""

    def __init__(self, app: App, routes: Iterable[str]) -> None:
        self._app = app
        self._routes = SITE_ROUTES | frozenset(routes)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in MACHINES_ASK:
            await self._app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self._routes else "other"
        began = time.perf_counter()

        async def noting(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                REQUESTS.labels(route, str(message["status"])).inc()
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            SECONDS.labels(route).observe(time.perf_counter() - began)
