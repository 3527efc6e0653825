"""A `serve` of our own for one command: its own home, a Unix socket, gone with everything after."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from inference_site.commands import CommandFailed
from inference_site.commands.endpoint import Endpoint
from inference_site.process import environment, spawn

POLL_S = 0.2
STOP_S = 60.0
# An installation's own choices: this server is not part of it.
FOREIGN_NAMES = (
    "PAGODA_DATABASE_URL",
    "PAGODA_REDIS_URL",
    "PAGODA_BROKER_URL",
    "PAGODA_PUBLIC_URL",
    "PAGODA_API_KEY",
    "PAGODA_SSL_KEYFILE",
    "PAGODA_SSL_CERTFILE",
)


@contextmanager
def own_server(flags: Sequence[str]) -> Iterator[Endpoint]:
    """Where a fresh `serve FLAGS` answers. Its words go to stderr.

    Raises `CommandFailed` when it ends before it is ready.
    """
    folder = Path(tempfile.mkdtemp(prefix="pagoda-"))
    socket = folder / "http.sock"
    env = environment(without=FOREIGN_NAMES, PAGODA_HOME=str(folder / "home"))
    argv = [sys.executable, "-m", "inference_site", "serve", *flags, f"--uds={socket}"]
    server = spawn(argv, env=env, death_signal=signal.SIGTERM, stdout=sys.stderr.fileno())
    try:
        _wait_until_ready(server, socket)
        boot = json.loads((folder / "home" / "bootstrap.json").read_text(encoding="utf-8"))
        yield Endpoint("http://localhost", boot["api_key"], uds=str(socket))
    finally:
        _stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(server: subprocess.Popen[bytes], socket: Path) -> None:
    transport = httpx.HTTPTransport(uds=str(socket))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=5) as client:
        while True:
            if server.poll() is not None:
                raise CommandFailed("The server ended before it was ready: see above.")
            try:
                if client.get("/health").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(POLL_S)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Nothing of it is worth waiting for but an orderly end of its children."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    try:
        server.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
