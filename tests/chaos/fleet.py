"""Processes of a small installation that can be killed and started again, one by one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import redis
from redis.exceptions import RedisError

from engine import redis_keys
from tests.conftest import redis_binary

ROOT = Path(__file__).resolve().parents[2]
SETTLER = (str(ROOT / "manage.py"), "settle")
ENGINE_FLAGS = ("--model-name=m", "--step-delay-s=0.003", "--max-num-seqs=24")


EVERYBODY = ("engine0", "engine1", "engine0", "engine1", "web0", "web1", "settler0", "settler1")
EVERYBODY += ("redis",)


class Fleet:
    """Two web processes, two fake engines, two settlers, one Redis with AOF, one SQLite."""

    def __init__(self, folder: Path, settler: Sequence[str] = SETTLER) -> None:
        self.folder = folder
        self._settler = settler
        self.socket = f"/tmp/pgd-chaos-{os.getpid()}.sock"
        self.url = f"unix://{self.socket}"
        self.home = folder / "home"
        self.kills: dict[str, int] = {}
        self._starts = 0
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._engine_ids: dict[str, str] = {}
        self._started_at: dict[str, float] = {}
        self._journals: dict[str, Path] = {}
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")} | {
            "PAGODA_HOME": str(self.home),
            "PAGODA_REDIS_URL": self.url,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "inference_site.settings",
            "OMP_NUM_THREADS": "1",
        }

    def start(self) -> None:
        (self.folder / "redis").mkdir()
        self._manage("migrate", "-v0")
        self.launch("redis")
        self.redis()
        for name in ("engine0", "engine1", "settler0", "settler1", "web0", "web1"):
            self.launch(name)

    def redis(self) -> redis.Redis:
        """A client of a Redis that answers."""
        client = redis.Redis.from_url(self.url)
        end = time.monotonic() + 20
        while True:
            try:
                client.ping()
                return client
            except RedisError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def launch(self, name: str) -> None:
        self._starts += 1
        self._started_at[name] = time.monotonic()
        kind = name.rstrip("0123456789")
        if kind == "engine":
            self._engine_ids[name] = f"{name}-{self._starts}"
        log = (self.folder / f"{name}.log").open("ab")
        self._running[name] = subprocess.Popen(
            self._command(kind, name), env=self._env, cwd=self.folder, stdout=log, stderr=log
        )
        log.close()

    def _command(self, kind: str, name: str) -> list[str]:
        if kind == "redis":
            return [
                redis_binary(), "--port", "0", "--unixsocket", self.socket,
                "--dir", str(self.folder / "redis"), "--appendonly", "yes",
                "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
            ]  # fmt: skip
        if kind == "engine":
            own = [f"--engine-id={self._engine_ids[name]}", f"--redis={self.url}"]
            return [sys.executable, "-m", "engine.testing", *own, *ENGINE_FLAGS]
        if kind == "settler":
            return [sys.executable, *self._settler]
        self._journals[name] = self.folder / f"journal-{self._starts}"
        journal = str(self._journals[name])
        return [sys.executable, "-m", "tests.chaos.web_process", self.url, journal]

    def kill(self, name: str) -> None:
        """SIGKILL, then do what the process' parent would do, then start another one."""
        process = self._running[name]
        process.send_signal(signal.SIGKILL)
        process.wait()
        kind = name.rstrip("0123456789")
        self.kills[kind] = self.kills.get(kind, 0) + 1
        if kind == "engine":
            self._bury(self._engine_ids[name])
        self.launch(name)

    def _bury(self, engine_id: str) -> None:
        client = redis.Redis.from_url(self.url)
        try:
            client.delete(redis_keys.engine_beat(engine_id))
            client.rpush(redis_keys.JUDGE_WAKE, engine_id)
        except RedisError:
            pass  # Redis is down too: the heartbeat runs out by itself

    def storm(self, seconds: float, rng: random.Random, names: Sequence[str] = EVERYBODY) -> None:
        """Every 0.3 to 1 s kill one of `names` that is at work."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.3, 1.0))
            if at_work := [name for name in names if self._at_work(name)]:
                self.kill(rng.choice(at_work))

    def _at_work(self, name: str) -> bool:
        """Killing a process that is still importing modules would test nothing."""
        age_s = time.monotonic() - self._started_at[name]
        kind = name.rstrip("0123456789")
        if kind == "web":
            journal = self._journals[name]
            return journal.exists() and journal.stat().st_size > 8000
        if kind == "engine":
            try:
                client = redis.Redis.from_url(self.url)
                return age_s > 4 and bool(client.hlen(f"pgd:run:{self._engine_ids[name]}"))
            except RedisError:
                return False
        return age_s > (3 if kind == "settler" else 4)

    def calm_down(self, within_s: float) -> None:
        """Let the web processes finish, then wait until nothing is open or unsettled."""
        for name in ("web0", "web1"):
            self._running[name].send_signal(signal.SIGTERM)
            self._running[name].wait(within_s)
        client = self.redis()
        end = time.monotonic() + within_s
        while client.hlen(redis_keys.OPEN) or client.xlen(redis_keys.USAGE):
            if time.monotonic() > end:
                left = client.hlen(redis_keys.OPEN), client.xlen(redis_keys.USAGE)
                raise AssertionError(f"{left[0]} requests open, {left[1]} events unsettled")
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        Path(self.socket).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "redis", ignore_errors=True)

    def journal(self) -> Iterable[list[str]]:
        """All complete lines of all web processes."""
        for path in self.folder.glob("journal-*"):
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    yield line.split()

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home / "pagoda.sqlite3")

    def _manage(self, *args: str) -> None:
        command = [sys.executable, str(ROOT / "manage.py"), *args]
        subprocess.run(command, env=self._env, check=True, cwd=self.folder)
