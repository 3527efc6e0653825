"""Server time of the admin's pages over a filled database: a child process of `admin_rows`.

    PAGODA_HOME=… python -m benchmarks.admin_pages --rows 10000000 --repeat 3

Prints one JSON object a page: the median of its times in ms, the CPU time of this process (with
SQLite's, without PostgreSQL's), and how many queries it asks. The time is that of Django's whole
stack in this process, without a socket.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode


def main() -> None:
    import django

    django.setup()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    _prepare(given.rows)
    for name, path in pages():
        print(json.dumps({"page": name, **measure(path, given.repeat)}), flush=True)


def pages() -> Iterator[tuple[str, str]]:
    """Names and addresses of every page that usage could make slow."""
    from apps.usage import log
    from apps.usage.models import UsageRecord

    yield "operate", "/admin/"
    for span in ("24h", "7d", "30d", "90d"):
        for group in ("model", "key", "owner"):
            yield f"usage-{span}-{group}", f"/admin/usage/?range={span}&group={group}"
    yield "usage-7d-hours", "/admin/usage/?range=7d&grain=hour"
    yield "usage-90d-one-key", "/admin/usage/?range=90d&key=k0000003"
    yield "usage-90d-one-owner", "/admin/usage/?range=90d&owner=team+03"
    filters: tuple[tuple[str, dict[str, str]], ...] = (
        ("all", {}),
        ("busy-key", {"key": "k0000000"}),
        ("idle-key", {"key": "k0000999"}),
        ("owner", {"owner": "team 03"}),
        ("model", {"model": "tiny"}),
        ("lost", {"status": "lost"}),
        ("failed", {"status": "failed"}),
        ("adapter", {"adapter": "legal"}),
        ("adapter-lost", {"adapter": "legal", "status": "lost"}),
        ("key-model-error", {"key": "k0000007", "model": "tiny", "status": "error"}),
    )
    for name, chosen in filters:
        yield f"log-{name}", f"/admin/requests/?{urlencode(chosen)}"
    row = UsageRecord.objects.order_by("ended_at", "id")[1000]
    for name in ("all", "owner"):
        query = urlencode(dict(filters)[name] | {"after": str(log.Cursor.of(row))})
        yield f"log-{name}-last-pages", f"/admin/requests/?{query}"
    yield "request", f"/admin/requests/{row.rid}/"
    yield "keys", "/admin/api/apikey/"
    yield "live", "/admin/live/"
    yield "playground", "/admin/playground/"


def measure(path: str, repeat: int) -> dict[str, Any]:
    """Median of `repeat` requests after one that warms up. Raises when a page fails."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get(username="bench"))
    with CaptureQueriesContext(connection) as asked:
        reply = client.get(path)
    queries = len(asked)  # the next request empties the log
    if reply.status_code != 200:
        raise RuntimeError(f"{path} answered {reply.status_code}")
    times, cpu = [], []
    for _ in range(repeat):
        began, cpu_began = time.perf_counter(), time.process_time()
        client.get(path)
        times.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - cpu_began))
    found = {"ms": statistics.median(times), "most_ms": max(times), "queries": queries}
    return found | {"cpu_ms": statistics.median(cpu)}


def _prepare(rows: int) -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.utils import timezone

    from apps.usage.models import UsageRecord
    from benchmarks.admin_data import fill

    call_command("migrate", verbosity=0)
    if User.objects.filter(username="bench").exists():  # made last
        return
    if UsageRecord.objects.exists():
        raise SystemExit("An earlier fill was broken off. Delete its folder and start again.")
    began = time.perf_counter()
    fill(rows=rows, end=timezone.now().replace(microsecond=0) - dt.timedelta(minutes=5))
    User.objects.create_superuser("bench")
    took = time.perf_counter() - began
    print(json.dumps({"page": "", "filled_rows": rows, "seconds": took}), flush=True)


if __name__ == "__main__":
    main()
