"""What may happen to a machine beside kills: `python -m tests.chaos.faults [NAME …]`.

Each scenario disturbs a new installation while customers ask, ends the disturbance, waits until
answers come again and compares all books.
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from engine import redis_keys
from tests import evidence, postgres
from tests.chaos import books
from tests.chaos.fleet import MODEL, Fleet, running
from tests.chaos.proxy import Proxy

HERE = Path(__file__).parent
OUTAGE_S = 8.0  # longer than heartbeats, socket time-outs and what open requests survive
HOUR_S = 3600
DISK = "8m"
ZERO = (*books.ZERO, "rows lost beyond the backlog")


def half_open(fleet: Fleet) -> None:
    """Connections of one web process and one engine stay open and carry nothing."""
    with behind_proxies(fleet) as proxies:
        for proxy in proxies:
            proxy.freeze()
        time.sleep(OUTAGE_S)
        for proxy in proxies:
            proxy.heal()
        fleet.recover()


def late_bytes(fleet: Fleet) -> None:
    """The same, but what was held back arrives in the end."""
    with behind_proxies(fleet) as proxies:
        for proxy in proxies:
            proxy.freeze()
        time.sleep(OUTAGE_S)
        for proxy in proxies:
            proxy.thaw()
        fleet.recover()


def lost_replies(fleet: Fleet) -> None:
    """Redis runs the commands; their replies are lost and the connections break, ten times."""
    with behind_proxies(fleet) as proxies:
        for _ in range(10):
            for proxy in proxies:
                proxy.swallow_replies()
            time.sleep(0.3)
            for proxy in proxies:
                proxy.heal()
            time.sleep(0.5)
        fleet.recover()


def redis_restart(fleet: Fleet) -> None:
    """Redis is away for a while and comes back with its data."""
    fleet.process("redis").kill()
    fleet.process("redis").wait()
    time.sleep(OUTAGE_S)
    fleet.launch("redis")
    fleet.recover()


def data_lost(fleet: Fleet) -> dict[str, int]:
    """Redis comes back empty. What it had not yet given to the settler is lost, and nothing else:
    engines write the usage of what they were doing anew."""
    client = fleet.redis()
    client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    backlog = client.xlen(redis_keys.USAGE)
    fleet.process("redis").kill()
    fleet.process("redis").wait()
    shutil.rmtree(fleet.folder / "redis")
    (fleet.folder / "redis").mkdir()
    fleet.launch("redis")
    fleet.recover()
    fleet.calm_down(within_s=180)
    counts = books.compare(fleet)
    lost = counts.pop("lost")
    counts["rows lost beyond the backlog"] = max(0, lost - backlog)
    for name in ("answers whose row differs", "tokens the ledger differs by"):
        counts.pop(name)  # rows that are lost, here and in what the budget was brought up to
    return counts


def database_locked(fleet: Fleet) -> None:
    """SQLite: somebody holds the database for longer than anybody waits for it."""
    path = fleet.folder / "home" / "pagoda.sqlite3"
    with sqlite3.connect(path, timeout=60, isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        asked = fleet.answers()
        time.sleep(25)
        database.execute("COMMIT")
    if not asked:
        raise AssertionError("a warm key was refused while the database was locked")
    fleet.recover()


def database_down(fleet: Fleet) -> None:
    """PostgreSQL is stopped at once and started after a while."""
    with postgres.stopped(fleet.database_url):
        asked = fleet.answers()
        time.sleep(OUTAGE_S)
    if not asked:
        raise AssertionError("a warm key was refused while the database was down")
    fleet.recover()


def full_disk(fleet: Fleet) -> None:
    """Redis cannot write its file: no more admissions, and nothing is lost of what there was."""
    filler = fleet.folder / "redis" / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()
    fleet.wait(lambda: fleet.ask(max_tokens=1).status_code == 503, "refusal")
    time.sleep(OUTAGE_S)
    filler.unlink()
    fleet.recover()


def clocks_apart(fleet: Fleet) -> None:
    """Clocks of web, engines and settlers are hours from Redis' and jump while they run."""
    library = fleet.folder / "clock.so"
    source = str(HERE / "clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), source, "-ldl"], check=True)
    shifts = {"web0": 1, "web1": -1, "engine0": -1, "engine1": 1, "settler0": 1, "settler1": -1}
    files = {name: fleet.folder / f"clock-{name}" for name in shifts}
    for name, sign in shifts.items():
        files[name].write_text(str(sign * HOUR_S))
        fleet.process(name).kill()
        fleet.replace(name, LD_PRELOAD=str(library), CLOCK_FILE=str(files[name]))
    fleet.wait(lambda: all(map(fleet.at_work, shifts)), "everybody at work")
    before = books.customers_of(fleet).outcomes["refused"]
    for sign in (-1, 1):
        time.sleep(3)
        for name, was in shifts.items():
            files[name].write_text(str(sign * was * HOUR_S))
    time.sleep(5)
    if refused := books.customers_of(fleet).outcomes["refused"] - before:
        raise AssertionError(f"{refused} requests refused because of a clock")
    fleet.recover()


def slow_readers(fleet: Fleet) -> None:
    """Customers that ask for much and read nothing are cut off; theirs alone end badly."""
    names = [f"slow-{number}" for number in range(16)]
    (fleet.folder / "journal-slow").write_text("".join(f"ask {name}\n" for name in names))
    sockets = [stalled(fleet, name) for name in names]
    ended = "SELECT count(*) FROM usage_usagerecord WHERE client_request_id LIKE 'slow-%'"
    fleet.wait(lambda: fleet.query(ended)[0][0] == len(names), "end of slow readers")
    for one in sockets:
        one.close()
    if books.customers_of(fleet).outcomes["told"]:
        raise AssertionError("a neighbour of slow readers was stopped")
    fleet.recover()


def stalled(fleet: Fleet, name: str) -> socket.socket:
    """A connection that has asked for a long stream and will not read it."""
    fields = {"model": MODEL, "prompt": "a", "max_tokens": 2000, "stream": True, "logprobs": 5}
    body = json.dumps(fields)
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {fleet.key}\r\nX-Request-Id: {name}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    host, _, port = fleet.url.removeprefix("http://").partition(":")
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect((host, int(port)))
    one.sendall((head + body).encode())
    return one


@contextmanager
def behind_proxies(fleet: Fleet) -> Iterator[list[Proxy]]:
    """One web process, one engine and one settler reach Redis through proxies."""
    proxies = {
        name: Proxy(fleet.folder / f"{name}.sock", fleet.redis_socket)
        for name in ("web0", "engine0", "settler0")
    }
    for name, proxy in proxies.items():
        fleet.redis_urls[name] = proxy.url
        fleet.kill(name)
    fleet.recover()
    try:
        yield list(proxies.values())
    finally:
        for proxy in proxies.values():
            proxy.close()
        for name in proxies:
            del fleet.redis_urls[name]
            fleet.kill(name)


@contextmanager
def small_disk(fleet: Fleet) -> Iterator[None]:
    """Redis' folder is a file system of its own, of a few megabytes. Needs root."""
    folder = str(fleet.folder / "redis")
    Path(folder).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


SCENARIOS: dict[str, Callable[[Fleet], dict[str, int] | None]] = {
    "connections half open": half_open,
    "bytes that arrive late": late_bytes,
    "replies lost": lost_replies,
    "Redis restarts": redis_restart,
    "Redis loses its data": data_lost,
    "database locked": database_locked,
    "database down": database_down,
    "disk full": full_disk,
    "clocks apart": clocks_apart,
    "slow readers": slow_readers,
}


def one(name: str, seed: int = 1) -> dict[str, int]:
    """The books after a scenario. Raises `AssertionError` for what it forbids by itself."""
    down = name == "database down"
    with postgres.cluster() if down else nullcontext("") as url:
        fleet = Fleet(url, seed=seed)
        with small_disk(fleet) if name == "disk full" else nullcontext(), running(fleet):
            if (counts := SCENARIOS[name](fleet)) is None:
                fleet.calm_down(within_s=180)
                counts = books.compare(fleet)
            return counts


def faults(counts: dict[str, int]) -> dict[str, int]:
    """What should be 0 and is not."""
    return {name: counts[name] for name in ZERO if counts.get(name)}


def main(names: Sequence[str]) -> int:
    """Each scenario joins the record when it is over."""
    for name in names or SCENARIOS:
        began = time.monotonic()
        counts = one(name)
        sys.stderr.write(f"{name}: {faults(counts) or 'books agree'}\n")
        evidence.add(
            "faults",
            title="Faults beside kills, each in an installation of its own",
            command="python -m tests.chaos.faults",
            goals=dict.fromkeys(SCENARIOS, ">= 1") | dict.fromkeys(ZERO, "= 0"),
            seed=1,
            duration_s=time.monotonic() - began,
            counts={name: 1} | counts,
            keep=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
