"""Rows about the admin: server time of every page over millions of usage rows and 1,000 keys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from tests.conftest import redis_binary
from tests.postgres import cluster

ROOT = Path(__file__).parent.parent
PAGE_MS = 300
SECRETS = {
    "PAGODA_SECRET_KEY": "the secret key of a benchmark, and of nothing else whatever",
    "PAGODA_KEY_PEPPER": "the pepper of a benchmark, which seasons no real key at all",
}


def rows(folder: Path, repeat: int, *, size: int) -> Iterator[Row]:
    """SQLite, whose filled file is kept in `folder` for the next run, then PostgreSQL."""
    home = folder / f"admin-{size}"
    yield from _pages("sqlite", home, repeat, size, {})
    with cluster() as url:
        scratch = folder / "admin-postgresql"
        try:
            yield from _pages("postgresql", scratch, repeat, size, {"PAGODA_DATABASE_URL": url})
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _pages(
    database: str, home: Path, repeat: int, size: int, environ: dict[str, str]
) -> Iterator[Row]:
    home.mkdir(parents=True, exist_ok=True)
    socket = home / "redis.sock"
    redis = subprocess.Popen(
        [redis_binary(), "--port", "0", "--unixsocket", str(socket), "--dir", str(home)],
        stdout=subprocess.DEVNULL,
    )
    try:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")}
        env |= {"PAGODA_HOME": str(home), "PAGODA_REDIS_URL": f"unix://{socket}"} | SECRETS
        env |= {"DJANGO_SETTINGS_MODULE": "inference_site.settings"} | environ
        command = [sys.executable, "-m", "benchmarks.admin_pages"]
        command += ["--rows", str(size), "--repeat", str(repeat)]
        with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            for line in run.stdout:
                if line.startswith("{"):
                    yield _row(database, json.loads(line))
        if run.returncode:
            raise RuntimeError(f"benchmarks.admin_pages ended with {run.returncode}")
    finally:
        redis.kill()
        redis.wait()


def _row(database: str, found: dict[str, Any]) -> Row:
    if not found["page"]:
        return Row(
            row=f"admin-fill-{database}", unit="s", ours=found["seconds"],
            detail={"rows": found["filled_rows"]},
        )  # fmt: skip
    return Row(
        row=f"admin-{found['page']}-{database}",
        unit="ms",
        ours=found["ms"],
        goal=PAGE_MS,
        at_most=True,
        detail={
            "queries": found["queries"],
            "most_ms": round(found["most_ms"], 1),
            "cpu_ms": round(found["cpu_ms"], 1),
        },
    )
