"""A web process that will stop soon: it answers everything and asks everybody to go elsewhere."""

from __future__ import annotations

from typing import Any

from inference_site.cors import App, Receive, Scope, Send

LEAVING = "leaving"  # key of the server's state, which every scope carries


class LeavingApp:
    """The outermost layer, the last that sees the server's own `send`. While the state holds
    `LEAVING`, /readyz is 503 and every connection ends with its answer, so that callers that keep
    connections open come back to another process.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # for `abort_connection`: uvicorn's `send` is a method of the object that owns the socket
        scope["pagoda_transport"] = getattr(getattr(send, "__self__", None), "transport", None)
        if scope["type"] != "http" or LEAVING not in scope.get("state", ()):
            await self._app(scope, receive, send)
            return

        async def ending(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                message = message | {"headers": headers}
                if scope["path"] == "/readyz":
                    message["status"] = 503
            await send(message)

        await self._app(scope, receive, ending)
