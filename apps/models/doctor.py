"""What `pagoda doctor` looks at. A check is a generator of findings in `CHECKS`; it never raises
for what it came to find out, and it changes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import redis
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from apps.models.models import Host, ServedModel
from apps.models.selectors import model_state
from engine.machine import machine_settings
from inference_site.config import ServerSettings
from inference_site.redis import NoRedis, find_redis

GIB = 1 << 30
LOW_DISK_BYTES = 2 * GIB
MOST_SKEW_S = 1.0  # limits per minute and queue deadlines compare clocks
AGENT_SILENT_S = 30.0
PROBE_TOKENS = 48
# The first release of each line in which scripts cannot use memory that was freed (CVE-2025-49844)
MENDED_REDIS = {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `fix` says what to do."""

    level: Level
    what: str
    words: str
    fix: str = ""


Check = Callable[[ServerSettings], Iterator[Finding]]


def check_home(settings: ServerSettings) -> Iterator[Finding]:
    """Folder, disk and the rights of the secrets."""
    home = settings.home.resolve()
    if not os.access(home, os.W_OK):
        yield Finding(Level.FAIL, "home", f"{home} cannot be written", "Check its owner.")
        return
    free = shutil.disk_usage(home).free
    low = free < LOW_DISK_BYTES
    fix = "Make room, or move PAGODA_HOME." if low else ""
    words = f"{free / GIB:.1f} GiB free at {home}"
    yield Finding(Level.WARN if low else Level.OK, "disk", words, fix)
    kind = file_system(home, Path("/proc/self/mounts"))
    if settings.embedded and kind in NETWORK_FILE_SYSTEMS:
        words = f"SQLite lies on {kind}, which loses its locks"
        yield Finding(Level.FAIL, "disk", words, "Use a local disk or PAGODA_DATABASE_URL.")
    for path in sorted((home / "secrets").glob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            words = f"{path} may be read by others (mode {mode:o})"
            yield Finding(Level.FAIL, "secrets", words, f"chmod 600 {path}")


def check_database(settings: ServerSettings) -> Iterator[Finding]:
    """It answers, its tables are of this version, its clock is ours."""
    try:
        began = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        took_ms = 1000 * (time.perf_counter() - began)
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        words = f"does not answer: {str(error).splitlines()[0]}"
        yield Finding(Level.FAIL, "database", words, "Check PAGODA_DATABASE_URL and its server.")
        return
    yield Finding(Level.OK, "database", f"{connection.vendor} answers in {took_ms:.1f} ms")
    if plan:
        words = f"{len(plan)} migrations are missing"
        yield Finding(Level.FAIL, "database", words, "Back it up, then: pagoda migrate")
    else:
        yield Finding(Level.OK, "database", "all migrations are applied")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (moment,) = cursor.fetchone()
        yield skew("clock of the database", (moment - datetime.now(UTC)).total_seconds())


def is_mended(version: str) -> bool:
    """Whether a Redis of this version is past `MENDED_REDIS`. A line that is not in it is judged by
    its age."""
    try:
        major, minor, patch = (int(part) for part in version.split(".")[:3])
    except ValueError:
        return True  # not Redis' own numbers: nothing is known
    least = MENDED_REDIS.get((major, minor))
    return (major, minor) > max(MENDED_REDIS) if least is None else patch >= least


def check_redis(settings: ServerSettings) -> Iterator[Finding]:
    """It answers, evicts nothing, keeps its data over a restart, and shares our clock."""
    try:
        client = redis.Redis.from_url(find_redis(settings), socket_timeout=3)
        seconds, micros = client.time()
        facts: dict[str, Any] = client.info()
    except (NoRedis, redis.RedisError, OSError) as error:
        fix = "Start `pagoda serve`, or check PAGODA_REDIS_URL."
        yield Finding(Level.FAIL, "redis", f"does not answer: {error}", fix)
        return
    version = str(facts["redis_version"])
    yield Finding(Level.OK, "redis", f"version {version} answers")
    if settings.redis_url and not is_mended(version):  # the embedded one listens on no network
        words = f"Redis {version} lets a client that may run scripts take it over (CVE-2025-49844)"
        fix = (
            "Upgrade it to 6.2.20, 7.2.11, 7.4.6, 8.0.4, 8.2.2 or newer; a distribution may have "
            "mended it under the old number, as its changelog says."
        )
        yield Finding(Level.WARN, "version of Redis", words, fix)
    yield skew("clock of Redis", seconds + micros / 1e6 - time.time())
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        words = f"maxmemory-policy is {policy}: open requests may vanish"
        yield Finding(Level.FAIL, "redis", words, "CONFIG SET maxmemory-policy noeviction")
    most, used = int(facts.get("maxmemory", 0)), int(facts.get("used_memory", 0))
    if most and used > 0.8 * most:
        words = f"uses {100 * used // most} % of its maxmemory"
        yield Finding(Level.WARN, "redis", words, "Raise maxmemory.")
    yield _persistence(client, facts)


def _persistence(client: redis.Redis, facts: dict[str, Any]) -> Finding:
    """Usage that is not yet in the database lives in Redis alone."""
    if facts.get("aof_enabled"):
        return Finding(Level.OK, "redis", "appendonly is on: usage survives its restart")
    try:
        saves = str(client.config_get("save").get("save", ""))
    except redis.RedisError:  # managed servers forbid CONFIG
        return Finding(Level.WARN, "redis", "its persistence cannot be read", "Ask its operator.")
    words = f"saves snapshots ({saves})" if saves else "keeps nothing over a restart"
    fix = "CONFIG SET appendonly yes, so that no usage is lost when it restarts."
    return Finding(Level.WARN, "redis", words, fix)


def check_models(settings: ServerSettings) -> Iterator[Finding]:
    """The agent lives and what is wanted is ready."""
    try:
        hosts = list(Host.objects.all())
        models = list(ServedModel.objects.wanted().prefetch_related("instances"))
    except DatabaseError:  # told by `check_database`
        return
    for host in hosts:
        silent_s = (timezone.now() - host.last_seen).total_seconds()
        if silent_s > AGENT_SILENT_S:
            words = f"{host.name} was last seen {silent_s:.0f} s ago"
            fix = "Start `pagoda serve` or `pagoda agent` there."
            yield Finding(Level.WARN, "agent", words, fix)
    for model in models:
        state = model_state(model)
        causes = [
            f"{engine.cause} {engine.fix}" for engine in model.instances.all() if engine.cause
        ]
        level = Level.OK if state == "ready" else Level.WARN
        yield Finding(level, "model", f"{model.name} is {state}", " ".join(causes))


def check_device(settings: ServerSettings) -> Iterator[Finding]:
    """Where engines can compute, and whether the kernels of the CPU can be built."""
    if importlib.util.find_spec("torch") is None:
        yield Finding(Level.OK, "device", "no torch here: engines run elsewhere")
        return
    gpu = shutil.which("nvidia-smi")
    yield Finding(Level.OK, "device", "nvidia-smi is there" if gpu else "no GPU: engines use CPUs")
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        fix = "Install a C compiler (gcc)."
        yield Finding(
            Level.WARN, "device", "no C compiler: CPU engines run several times slower", fix
        )
    cache = Path(machine_settings().cache_dir).expanduser()
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        words = f"{cache} cannot be written: kernels are built at each start"
        yield Finding(Level.WARN, "device", words, "Set PAGODA_CACHE_DIR.")


def check_proxy(settings: ServerSettings) -> Iterator[Finding]:
    """Whether tokens come one by one through the public URL, as they do directly."""
    key = settings.api_key or _bootstrap_key(settings.home)
    if not settings.public_url:
        return
    if not key:
        words = f"whether {settings.public_url} holds answers back was not looked at"
        yield Finding(Level.OK, "proxy", words, "Give a key for it: --api-key pgd_…")
        return
    try:
        own = _own_url(settings)
        model = _first_model(own, key)
        direct, through = (spread_s(root, key, model) for root in (own, settings.public_url))
    except (OSError, ValueError, LookupError) as error:
        words = f"no stream through {settings.public_url} ({error or type(error).__name__})"
        fix = "Check the proxy and PAGODA_PUBLIC_URL, or name the proxy as seen from here: --url"
        yield Finding(Level.WARN, "proxy", words, fix)
        return
    if through < direct / 2:
        words = f"it holds answers back: a stream of {direct:.2f} s arrives within {through:.2f} s"
        fix = "Turn off response buffering for it (nginx: proxy_buffering off)."
        yield Finding(Level.WARN, "proxy", words, fix)
    else:
        yield Finding(Level.OK, "proxy", "streams arrive token by token")


CHECKS: list[Check] = [
    check_home,
    check_database,
    check_redis,
    check_models,
    check_device,
    check_proxy,
]


def skew(what: str, seconds: float) -> Finding:
    """Limits and deadlines compare times of several machines."""
    if abs(seconds) > MOST_SKEW_S:
        return Finding(
            Level.FAIL, what, f"differs by {seconds:+.1f} s", "Run NTP on both machines."
        )
    return Finding(Level.OK, what, f"agrees within {abs(seconds):.2f} s")


def file_system(path: Path, mounts: Path) -> str:
    """Type of the file system that holds `path`, by the longest mount point; "" if unknown."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    best = max(
        (line for line in lines if len(line) > 2 and path.is_relative_to(line[1])),
        key=lambda line: len(line[1]),
        default=None,
    )
    return best[2] if best else ""


def spread_s(root: str, key: str, model: str) -> float:
    """Seconds between the first and the last event of a short stream. Raises OSError."""
    body = {"model": model, "prompt": "1", "max_tokens": PROBE_TOKENS, "ignore_eos": True}
    request = _request(f"{root.rstrip('/')}/v1/completions", key, body | {"stream": True})
    times = []
    with urllib.request.urlopen(request, timeout=60) as reply:
        for line in reply:
            if line.startswith(b"data:"):
                times.append(time.perf_counter())
    if len(times) < 2:
        raise urllib.error.URLError("no stream")
    return times[-1] - times[0]


def _own_url(settings: ServerSettings) -> str:
    """Where this very machine reaches the server: all addresses are no name to ask for."""
    if settings.host in ("0.0.0.0", "::"):
        settings = replace(settings, host="127.0.0.1")
    return settings.listen_url


def _first_model(root: str, key: str) -> str:
    with urllib.request.urlopen(_request(f"{root}/v1/models", key), timeout=10) as reply:
        return str(json.load(reply)["data"][0]["id"])


def _request(url: str, key: str, body: dict[str, Any] | None = None) -> urllib.request.Request:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return urllib.request.Request(url, data, headers)


def _bootstrap_key(home: Path) -> str:
    try:
        return str(json.loads((home / "bootstrap.json").read_text(encoding="utf-8"))["api_key"])
    except (OSError, ValueError, KeyError):
        return ""
