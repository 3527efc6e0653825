"""Runs the integration suite on a real PostgreSQL: `python -m tests.postgres`, or with
pytest's arguments in place of the suite.

A throw-away cluster (Debian's package `postgresql`) on a private socket, gone afterwards. Tests of
`serve` that are about the embedded installation keep their SQLite; everything else moves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import psycopg

ROOT = Path(__file__).parent.parent
DEBIAN = "/usr/lib/postgresql/*/bin"
SUITE = ("-n", "2", "--dist", "loadfile", "tests/integration")


def binaries() -> Path:
    """Folder of initdb and pg_ctl. Ends the run, in words, where there is none."""
    found = shutil.which("initdb")
    folders = (
        [Path(found).parent] if found else sorted(map(Path, glob("/usr/lib/postgresql/*/bin")))
    )
    if not folders:
        sys.exit("PostgreSQL's server is not installed. On Debian: apt-get install postgresql")
    return folders[-1]


@contextmanager
def cluster() -> Iterator[str]:
    """URL of an empty database on a server of its own."""
    programs = binaries()
    user = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pgd-pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments]
        subprocess.run(command, check=True, user=user, stdout=subprocess.DEVNULL, cwd="/")

    data = str(folder / "data")
    run("initdb", "--pgdata", data, "--auth", "trust", "--username", "pagoda", "--encoding", "UTF8")
    try:
        run("pg_ctl", *_start(folder))
        with psycopg.connect(f"postgresql://pagoda@/postgres?host={folder}", autocommit=True) as c:
            c.execute("CREATE DATABASE pagoda")
        yield f"postgresql://pagoda@/pagoda?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> list[str]:
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=300"
    return ["-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start"]


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """The server of a `cluster()` is down for as long as the block lasts."""
    folder = Path(url.partition("host=")[2])
    user = "postgres" if os.getuid() == 0 else None
    program = str(binaries() / "pg_ctl")
    quiet = {"user": user, "stdout": subprocess.DEVNULL, "cwd": "/", "check": True}
    subprocess.run([program, "-D", f"{folder}/data", "-m", "immediate", "-w", "stop"], **quiet)
    try:
        yield
    finally:
        subprocess.run([program, *_start(folder)], **quiet)


def main(arguments: list[str]) -> int:
    with cluster() as url:
        environ = os.environ | {
            "PAGODA_DATABASE_URL": url,
            "PAGODA_SECRET_KEY": "the secret key of a test run, and of nothing else whatever",
            "PAGODA_KEY_PEPPER": "the pepper of a test run, which seasons no real key at all",
        }
        # The cluster goes as a whole: a pool may be opening a connection when its database would.
        command = [sys.executable, "-m", "pytest", "--reuse-db", *(arguments or SUITE)]
        return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
