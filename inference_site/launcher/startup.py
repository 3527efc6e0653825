"""What the person at the terminal sees until the first request can be answered."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from engine import redis_keys
from engine.messages import EngineBeat, EngineState, WireMismatch, unpack
from inference_site.config import ServerSettings

LINE_EVERY_S = 5.0  # without news
ANSWER_S = 2.0
FIRST_INPUT = {"input": "Once upon a time"}
FIRST_CALLS: dict[str, tuple[str, dict[str, Any]]] = {  # task of a model → route, body
    "chat": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "Tell me a short story."}]},
    ),
    "": ("/v1/completions", {"prompt": "Once upon a time", "max_tokens": 32}),
    "embed": ("/v1/embeddings", FIRST_INPUT),
    "classify": ("/classify", FIRST_INPUT),
    "token_classify": ("/pooling", FIRST_INPUT),
}


class Startup:
    """Watches heartbeats and /health until everything is ready, then prints how to use it."""

    POLL_S = 0.2

    def __init__(
        self,
        settings: ServerSettings,
        redis_url: str,
        model: str,
        only_web: bool,
        say: Callable[[str], None],
        began: float,
    ) -> None:
        self.running, self.refused = True, False
        self._settings = settings
        self._client = redis.Redis.from_url(redis_url, socket_timeout=2)
        self._model = model
        self._path = "/readyz" if only_web else "/health"
        self._say = say
        self._began = began
        self._said, self._said_at = "", began
        if model:
            self._client.hdel(redis_keys.AGENT_FAILED, model)

    def look(self) -> None:
        """One look. Sets `refused` when the model of this start cannot be served and says why."""
        try:
            if self._healthy():
                self._finish()
                return
            words = self._client.hget(redis_keys.AGENT_FAILED, self._model) if self._model else None
            if isinstance(words, bytes):
                told = json.loads(words)
                self._say(f"{self._model} cannot be served. {told['cause']} {told['fix']}")
                self._say("Nothing is served: stopping. Start again when this is mended.")
                self.refused = True
                return
            self._progress()
        except redis.RedisError:
            pass  # it is being started again; look at the next turn

    def _healthy(self) -> bool:
        connection = _connection(self._settings)
        try:
            connection.request("GET", self._path)
            return connection.getresponse().status == 200
        except (http.client.HTTPException, OSError):
            return False
        finally:
            connection.close()

    def _progress(self) -> None:
        line = self._line()
        now = time.monotonic()
        if line != self._said or now - self._said_at > LINE_EVERY_S:
            self._said, self._said_at = line, now
            self._say(f"[{now - self._began:5.1f} s] {line}")

    def _line(self) -> str:
        beats = self._beats()
        for beat in beats:
            if beat.state != EngineState.LOADING:
                continue
            share = f" {100 * beat.done_bytes // beat.total_bytes} %" if beat.total_bytes else ""
            return f"{beat.model}: loading {beat.phase or 'the engine'}{share}"
        return "announcing the model" if beats else "starting the processes"

    def _beats(self) -> list[EngineBeat]:
        keys = list(self._client.scan_iter(match=redis_keys.engine_beat("*"), count=100))
        beats = []
        found: list[Any] = list(self._client.mget(keys)) if keys else []
        for data in found:
            try:
                beats.append(unpack(EngineBeat, data or b""))
            except WireMismatch:
                continue
        return beats

    def _task(self) -> str:
        """What the model is for, as its engine says; empty: it continues text."""
        return next((beat.task for beat in self._beats() if beat.model == self._model), "")

    def _finish(self) -> None:
        task = self._task()
        self.running = False
        self._client.close()
        self._say(f"[{time.monotonic() - self._began:5.1f} s] ready")
        self._say(welcome(self._settings, self._model, task))


def welcome(settings: ServerSettings, model: str, task: str = "") -> str:
    """Where everything is, and a first call for a model of this `task`.

    In production the secrets are not ours to show.
    """
    root = settings.base_url
    if settings.uds is not None:
        return f"\n  Unix socket {settings.uds.absolute()}: curl --unix-socket …\n"
    lines = ["", f"  Base URL   {root}/v1", f"  Admin      {root}/admin/"]
    boot = _bootstrap(settings)
    if boot:
        lines[-1] += f"   user {boot['admin_user']}, password {boot['admin_password']}"
        lines.append(f"  API key    {boot['api_key']}")
    if boot and model:
        route, fields = FIRST_CALLS[task]
        body = json.dumps({"model": model, **fields})
        lines += [
            "",
            f"  curl {root}{route} \\",
            f"    -H 'Authorization: Bearer {boot['api_key']}' \\",
            "    -H 'Content-Type: application/json' \\",
            f"    -d '{body}'",
        ]
    return "\n".join([*lines, ""])


def _bootstrap(settings: ServerSettings) -> dict[str, str]:
    path: Path = settings.home / "bootstrap.json"
    if not settings.embedded or not path.is_file():
        return {}
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the server's Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._path))


def _connection(settings: ServerSettings) -> http.client.HTTPConnection:
    """To our own listening address as this machine reaches it: 0.0.0.0 is no address to call."""
    if settings.uds is not None:
        return _UnixConnection(settings.uds)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    if settings.ssl_certfile is None:
        return http.client.HTTPConnection(host, settings.port, timeout=ANSWER_S)
    # Its certificate names the public host; here we only ask whether the process answers.
    context = ssl._create_unverified_context()
    return http.client.HTTPSConnection(host, settings.port, timeout=ANSWER_S, context=context)
