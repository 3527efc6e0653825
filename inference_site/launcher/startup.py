"""What the person at the terminal sees until the first request can be answered."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from engine import redis_keys
from engine.messages import EngineBeat, EngineState, WireMismatch, unpack
from inference_site.config import ServerSettings

LINE_EVERY_S = 5.0  # without news


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
        self.running = True
        self._settings = settings
        self._client = redis.Redis.from_url(redis_url, socket_timeout=2)
        self._model = model
        self._path = "/readyz" if only_web else "/health"
        self._say = say
        self._began = began
        self._said, self._said_at = "", began
        if model:
            self._client.hdel(redis_keys.AGENT_FAILED, model)

    def failed(self) -> bool:
        """One look. True when the model of this start cannot be served; the reason was said."""
        try:
            if self._healthy():
                self._finish()
                return False
            words = self._client.hget(redis_keys.AGENT_FAILED, self._model) if self._model else None
            if isinstance(words, bytes):
                told = json.loads(words)
                self._say(f"{self._model} cannot be served. {told['cause']} {told['fix']}")
                return True
            self._progress()
        except redis.RedisError:
            pass  # it is being started again; look at the next turn
        return False

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(
                _reachable(self._settings) + self._path, timeout=2
            ) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _progress(self) -> None:
        line = self._line()
        now = time.monotonic()
        if line != self._said or now - self._said_at > LINE_EVERY_S:
            self._said, self._said_at = line, now
            self._say(f"[{now - self._began:5.1f} s] {line}")

    def _line(self) -> str:
        for beat in self._beats():
            if beat.state == EngineState.READY:
                continue
            share = f" {100 * beat.done_bytes // beat.total_bytes} %" if beat.total_bytes else ""
            return f"{beat.model}: {beat.state} {beat.phase}{share}".rstrip()
        return "starting the processes"

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

    def _finish(self) -> None:
        self.running = False
        self._client.close()
        self._say(f"[{time.monotonic() - self._began:5.1f} s] ready")
        self._say(welcome(self._settings, self._model))


def welcome(settings: ServerSettings, model: str) -> str:
    """Where everything is. In production the secrets are not ours to show."""
    root = settings.base_url
    lines = ["", f"  Base URL   {root}/v1", f"  Admin      {root}/admin/"]
    boot = _bootstrap(settings)
    if boot:
        lines[-1] += f"   user {boot['admin_user']}, password {boot['admin_password']}"
        lines.append(f"  API key    {boot['api_key']}")
    if boot and model:
        body = json.dumps({"model": model, "prompt": "Once upon a time", "max_tokens": 32})
        lines += [
            "",
            f"  curl {root}/v1/completions \\",
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


def _reachable(settings: ServerSettings) -> str:
    """The listening address as this machine reaches it: 0.0.0.0 is no address to call."""
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    host = local.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}"
