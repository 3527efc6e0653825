"""A small installation whose processes can be killed and started again, one by one.

Two web processes on one socket, two engines, two settlers, a worker, Redis with AOF, SQLite or
PostgreSQL. The engines are fake unless asked for otherwise; everything else is the real thing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis
from redis.exceptions import RedisError

from engine import redis_keys
from engine.messages import EngineBeat, EngineState, WebBeat, WireMismatch, unpack
from inference_site.process import spawn
from tests.conftest import redis_binary

ROOT = Path(__file__).resolve().parents[2]
MODEL, CONTEXT = "tiny", 2048
SETTLER = (str(ROOT / "manage.py"), "settle")
ENGINE = ("-m", "engine.testing", "--step-delay-s=0.002", "--max-num-seqs=64", "--vocab-size=200")
REAL = ("--num-threads=1", f"--max-model-len={CONTEXT}")
CREW = ("engine0", "engine1", "web0", "web1", "settler0", "settler1", "worker", "redis")
# Who is killed how often: what holds requests and what starts fast more than the rest.
TARGETS = (*CREW, *("engine0", "engine1") * 3, "settler0", "settler1")
START_S = 180
STEADY_S = {"redis": 4.0, "worker": 6.0, "settler": 1.0, "web": 1.0, "engine": 1.0}
PREPARE = """
import sys, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from apps.api.services import KeyLimits, key_create, owner_get_or_create
from apps.models.models import ServedModel
folder, vocab, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ServedModel.objects.create(
    name="tiny", source=folder, path=folder, max_model_len=context, vocab_size=vocab,
    kv_tokens=context * 64,
)
limits = KeyLimits(rpm=10**7, tpm=10**9, parallel=10**6, budget_tokens=10**12)
print(key_create(owner=owner_get_or_create(name="chaos"), name="customer", limits=limits)[1])
"""


class Fleet:
    """`start()`, then `kill` and `launch` by name, `calm_down()`, `stop()`."""

    def __init__(
        self, database_url: str = "", *, settler: Sequence[str] = SETTLER,
        before: Sequence[str] = (), model: Path | None = None, crew: Sequence[str] = CREW,
        seed: int = 1, customers: int = 1,
    ) -> None:  # fmt: skip
        """`before` runs once the database is ready. With `model`, a checkpoint, the engines are
        real ones. `crew` ends with redis."""
        self.folder = Path(tempfile.mkdtemp(prefix="pgd-chaos-", dir="/tmp"))
        self.redis_socket = f"{self.folder}/redis.sock"
        self.redis_url = f"unix://{self.redis_socket}"
        self.redis_urls: dict[str, str] = {}  # of processes that reach it by another way
        self.database_url = database_url
        self.kills: dict[str, int] = {}
        self.key = ""
        self._settler, self._before = settler, before
        self._model = model or self.folder / "model"
        self._engine = ENGINE if model is None else ("-m", "engine", f"--model={model}", *REAL)
        self._crew, self._seed, self._customers = crew, seed, customers
        self._starts = 0
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._engine_ids: dict[str, str] = {}
        self._started_at: dict[str, float] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")}
        self.env = clean | {
            "PAGODA_HOME": str(self.folder / "home"),
            "PAGODA_REDIS_URL": self.redis_url,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "inference_site.settings",
            "OMP_NUM_THREADS": "1",
        }
        if database_url:
            self.env |= {
                "PAGODA_DATABASE_URL": database_url,
                "PAGODA_SECRET_KEY": "the secret key of a test run, and of nothing else whatever",
                "PAGODA_KEY_PEPPER": "the pepper of a test run, which seasons no real key at all",
            }

    def start(self) -> None:
        """Returns when customers ask and everybody is at work."""
        from inference_site.launcher.random_model import write

        (self.folder / "redis").mkdir(exist_ok=True)
        write(self.folder / "model")
        self.launch("redis")
        self.redis()
        vocab = json.loads((self._model / "config.json").read_text())["vocab_size"]
        arguments = (str(self._model), str(vocab), str(CONTEXT))
        self.key = self.python("-c", PREPARE, *arguments).split()[-1]
        if self._before:
            self.python(*self._before)
        for name in self._crew[:-1]:
            self.launch(name)
        self._env_of_customers = self.env | {"CUSTOMER_KEY": self.key}
        self.wait(self.answers, "an answer")
        for number in range(self._customers):
            self.launch(f"customer{number}")
        if self._customers:
            self.recover()

    def recover(self) -> None:
        """Wait until everybody has something to do again."""
        self.wait(lambda: all(map(self.at_work, self._crew)), "everybody at work")

    def answers(self) -> bool:
        """Whether a completion is answered now."""
        with suppress(httpx.TransportError):
            return self.ask(max_tokens=1).status_code == 200
        return False

    def ask(self, **fields: object) -> httpx.Response:
        """One completion."""
        body = {"model": MODEL, "prompt": "a", **fields}
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.post(
            f"{self.url}/v1/completions", json=body, headers=headers, timeout=60, trust_env=False
        )

    def up(self, engine: str) -> bool:
        """Whether this engine is ready."""
        own = redis_keys.engine_beat(self._engine_ids[engine])
        beats = _beats(redis.Redis.from_url(self.redis_url), own, EngineBeat)
        return any(beat.state is EngineState.READY for beat in beats)

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + START_S
        while not ready():
            if time.monotonic() > end:
                idle = [name for name in self._crew if not self.at_work(name)]
                raise AssertionError(f"no {what} within {START_S} s; not at work: {idle}")
            time.sleep(0.1)

    def python(self, *arguments: str) -> str:
        """What one of our interpreters prints."""
        done = subprocess.run(
            [sys.executable, *arguments], env=self.env, cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def redis(self, within_s: float = 60) -> redis.Redis:
        """A client of a Redis that answers."""
        client = redis.Redis.from_url(self.redis_url)
        end = time.monotonic() + within_s
        while True:
            try:
                client.ping()
                return client
            except RedisError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def launch(self, name: str, wrapper: Sequence[str] = (), **environ: str) -> None:
        """Start it; `wrapper` goes between the interpreter and its arguments."""
        self._starts += 1
        self._started_at[name] = time.monotonic()
        kind = kind_of(name)
        if kind == "engine":
            self._engine_ids[name] = f"{name}-{self._starts}"
        fds = [self._listener.fileno()] if kind == "web" else []
        env = self._env_of_customers if kind == "customer" else self.env
        env = env | {"PAGODA_REDIS_URL": self.redis_url_of(name)}
        command = self._command(kind, name)
        if kind != "redis":
            command = [sys.executable, *wrapper, *command]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = spawn(
                command, env=env | environ, stdout=log, stderr=log, pass_fds=fds
            )

    def _command(self, kind: str, name: str) -> list[str]:
        if kind == "redis":
            return [
                redis_binary(), "--port", "0", "--unixsocket", self.redis_socket,
                "--dir", str(self.folder / "redis"), "--appendonly", "yes",
                "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
            ]  # fmt: skip
        if kind == "engine":
            own = [f"--engine-id={self._engine_ids[name]}", f"--model-name={MODEL}"]
            return [*self._engine, *own, f"--redis={self.redis_url_of(name)}"]
        if kind == "settler":
            return list(self._settler)
        if kind == "web":
            return ["-m", "inference_site.web", "--fd", str(self._listener.fileno())]
        if kind == "worker":
            return ["-m", "inference_site.worker"]
        journal = str(self.folder / f"journal-{self._starts}")
        return ["-m", "tests.chaos.customer", self.url, journal, str(self._seed + self._starts)]

    def redis_url_of(self, name: str) -> str:
        return self.redis_urls.get(name, self.redis_url)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        return self._running[name]

    def kill(self, name: str, wrapper: Sequence[str] = ()) -> None:
        """SIGKILL, then do what the process' parent would do, then start another one."""
        self._running[name].kill()
        self.replace(name, wrapper)

    def replace(self, name: str, wrapper: Sequence[str] = (), **environ: str) -> None:
        """The same for a process that is dying by itself."""
        self._running[name].wait()
        self.kills[kind_of(name)] = self.kills.get(kind_of(name), 0) + 1
        if kind_of(name) == "engine":
            self._bury(self._engine_ids[name])
        self.launch(name, wrapper, **environ)

    def _bury(self, engine_id: str) -> None:
        client = redis.Redis.from_url(self.redis_url)
        with suppress(RedisError):  # Redis is down too: the heartbeat runs out by itself
            client.delete(redis_keys.engine_beat(engine_id))
            client.rpush(redis_keys.JUDGE_WAKE, engine_id)

    def storm(
        self, seconds: float, rng: random.Random, names: Sequence[str] = TARGETS,
        every_s: tuple[float, float] = (2.0, 5.0), enough: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """Every now and then kill one of `names` that is at work."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough():
            time.sleep(rng.uniform(*every_s))
            order = rng.sample(names, len(names))
            if victim := next((name for name in order if self.at_work(name)), None):
                self.kill(victim)

    def at_work(self, name: str) -> bool:
        """Killing a process that is still importing modules would test nothing."""
        kind = kind_of(name)
        if time.monotonic() - self._started_at[name] < STEADY_S[kind]:
            return False
        try:
            client = redis.Redis.from_url(self.redis_url)
            if kind == "web":
                return any(
                    beat.pid == self._running[name].pid and beat.open_requests
                    for beat in _beats(client, redis_keys.web_beat("*"), WebBeat)
                )
            if kind == "engine":
                own = redis_keys.engine_beat(self._engine_ids[name])
                return any(beat.running for beat in _beats(client, own, EngineBeat))
            if kind == "settler":
                group = client.xinfo_consumers(redis_keys.USAGE, redis_keys.USAGE_GROUP)
                mark = f"-{self._running[name].pid}-".encode()
                return any(mark in consumer["name"] for consumer in group)
            return bool(client.ping())
        except RedisError:
            return False

    def calm_down(self, within_s: float) -> None:
        """Let the customers finish, then wait until nothing is open or unsettled."""
        for name in self._names("customer"):
            self._running[name].send_signal(signal.SIGTERM)
        for name in self._names("customer"):
            self._running[name].wait(within_s)
        self.settle(within_s)

    def settle(self, within_s: float) -> None:
        """Wait until nothing is open or unsettled."""
        client = self.redis()
        end = time.monotonic() + within_s
        while client.hlen(redis_keys.OPEN) or client.xlen(redis_keys.USAGE):
            if time.monotonic() > end:
                left = client.hlen(redis_keys.OPEN), client.xlen(redis_keys.USAGE)
                raise AssertionError(f"{left[0]} requests open, {left[1]} events unsettled")
            time.sleep(0.1)

    def stop(self, *, keep_logs: bool = False) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._listener.close()
        if not keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)

    def journal(self) -> Iterator[list[str]]:
        """All complete lines of all customers."""
        for path in self.folder.glob("journal-*"):
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    yield line.split()

    def query(self, sql: str) -> list[Any]:
        """Rows of the installation's database."""
        if self.database_url:
            with psycopg.connect(self.database_url) as connection:
                return connection.execute(sql).fetchall()
        with sqlite3.connect(self.folder / "home" / "pagoda.sqlite3", timeout=30) as database:
            return database.execute(sql).fetchall()

    def _names(self, kind: str) -> list[str]:
        return [name for name in self._running if kind_of(name) == kind]


@contextmanager
def running(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet; its folder stays, and is named, when something goes wrong."""
    try:
        fleet.start()
        yield fleet
    except BaseException as error:
        error.add_note(f"logs: {fleet.folder}")
        fleet.stop(keep_logs=True)
        raise
    fleet.stop()


def kind_of(name: str) -> str:
    return name.rstrip("0123456789")


def _beats(client: redis.Redis, pattern: str, kind: type[Any]) -> Iterator[Any]:
    for key in client.scan_iter(pattern, count=1000):
        with suppress(WireMismatch):
            yield unpack(kind, client.get(key) or b"")
