"""A real `pagoda serve` for end-to-end tests: start it, ask it, look inside, kill parts of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 120.0  # of any wait: many times what a crowded machine needs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(ready: Callable[[], Any], *, within_s: float = LIMIT_S, what: str) -> Any:
    """Poll `ready` until it gives something true. Fails by name."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {within_s} s")


class Served:
    """One running `serve` with its home."""

    def __init__(
        self,
        home: Path,
        *args: str,
        env: dict[str, str] | None = None,
        program: tuple[str, ...] = (str(ROOT / "manage.py"),),
    ) -> None:
        self.home, self.port = home, free_port()
        self.log = home.parent / f"{home.name}.log"
        settings = {
            "PAGODA_HOME": str(home),
            "PAGODA_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
            "PAGODA_LOG_LEVEL": "INFO",
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve", *args],
                env=clean | settings | (env or {}),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=home.parent,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def boot(self) -> dict[str, str]:
        loaded: dict[str, str] = json.loads((self.home / "bootstrap.json").read_text())
        return loaded

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.url + path)
        request.add_header("Authorization", f"Bearer {self.boot['api_key']}")
        with urllib.request.urlopen(request, timeout=LIMIT_S) as reply:
            return json.loads(reply.read())

    def post(self, path: str, body: dict[str, Any], timeout_s: float = LIMIT_S) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {self.boot['api_key']}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            return json.loads(reply.read())

    def wait_healthy(self, within_s: float = LIMIT_S) -> None:
        def healthy() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended: {self.log.read_text()[-3000:]}")
            return self.status("/health") == 200

        wait_for(healthy, within_s=within_s, what="/health = 200")

    def children(self, word: str = "") -> list[psutil.Process]:
        """Living descendants whose command line holds `word`."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                alive = child.status() != psutil.STATUS_ZOMBIE
                if alive and word in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    def child(self, word: str) -> psutil.Process:
        found: psutil.Process = wait_for(
            lambda: next(iter(self.children(word)), None), what=f"a child {word!r}"
        )
        return found

    def redis(self) -> redis.Redis[bytes]:
        """The embedded Redis; its socket is named in its process title."""
        title = " ".join(self.child("redis-server").cmdline())
        socket_path = re.search(r"/\S*redis\.sock", title)[0]  # type: ignore[index]
        return redis.Redis.from_url(f"unix://{socket_path}")

    def stop(self, within_s: float = LIMIT_S) -> int:
        """One Ctrl-C. Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=within_s)

    def destroy(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def serving(
    home: Path,
    *args: str,
    within_s: float = LIMIT_S,
    env: dict[str, str] | None = None,
    program: tuple[str, ...] = (str(ROOT / "manage.py"),),
) -> Iterator[Served]:
    """`serve` until healthy, then gone with everything it started."""
    served = Served(home, *args, env=env, program=program)
    try:
        served.wait_healthy(within_s)
        yield served
        served.stop()
    finally:
        served.destroy()
