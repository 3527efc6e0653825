"""A whole small installation in child processes: Redis, an engine, one web process.

The engine is the fake one (`engine.testing`) unless a test asks for the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from psycopg import sql

from tests.conftest import redis_binary
from tests.served import LIMIT_S, free_port

ROOT = Path(__file__).parent.parent
MODEL = "tiny"
CONTEXT = 2048

PREPARE = """
import json, sys, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from apps.api.services import key_create, owner_get_or_create
from apps.models.models import ServedModel
folder, vocab, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ServedModel.objects.create(
    name="tiny", source=folder, path=folder, max_model_len=context, vocab_size=vocab,
    kv_tokens=context * 64,
)
owner = owner_get_or_create(name="tests")
scopes = ["inference", "adapters", "management", "metrics", "admin"]
_, full = key_create(owner=owner, name="full", scopes=scopes)
_, plain = key_create(owner=owner, name="plain", scopes=["inference"])
print(json.dumps({"full": full, "plain": plain}))
"""


@dataclass
class Stack:
    """A running installation. `base` is the URL of the web process, `keys` name → key text."""

    base: str
    keys: dict[str, str]
    redis_url: str
    environ: dict[str, str]
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys['full']}"}

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(
            **{"base_url": self.base, "headers": self.headers} | options,
            timeout=LIMIT_S,
            trust_env=False,
        )

    def manage(self, code: str, *arguments: str) -> str:
        """Run a piece of Python with Django set up; its output."""
        lines = "import sys, json, django\ndjango.setup()\n" + code
        done = subprocess.run(
            [sys.executable, "-c", lines, *arguments],
            env=self.environ, cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def start_redis(self) -> None:
        """A Redis of its own: engines of two stacks on one would take each other's requests."""
        command = [redis_binary(), "--port", "0", "--unixsocket", str(self.folder / "redis.sock")]
        command += ["--dir", str(self.folder), "--save", "", "--maxmemory-policy", "noeviction"]
        self._start("redis", command)
        until = time.monotonic() + LIMIT_S
        while not (self.folder / "redis.sock").exists():
            assert time.monotonic() < until, self.log("redis")
            time.sleep(0.01)

    def start_engine(self, *flags: str, name: str = "engine") -> None:
        command = [sys.executable, "-m", "engine.testing", "--engine-id", name]
        command += ["--model-name", MODEL, "--redis", self.redis_url, *flags]
        self._start(name, command)

    def start_real_engine(self, name: str = "engine") -> None:
        """The engine itself on the random model, in place of the fake one."""
        command = [sys.executable, "-m", "engine", "--engine-id", f"real-{name}"]
        command += ["--model-name", MODEL, "--redis", self.redis_url, "--num-threads", "1"]
        self._start(name, [*command, "--model", str(self.folder / "model")])

    def start_web(self, port: int, name: str = "web", **environ: str) -> None:
        """One web process more, with settings of its own; all accept the same keys."""
        with socket.create_server(("127.0.0.1", port)) as listener:
            fd = listener.fileno()
            command = [sys.executable, "-m", "inference_site.web", "--fd", str(fd)]
            self._start(name, command, pass_fds=[fd], **environ)

    @contextmanager
    def second_web(self, **environ: str) -> Iterator[str]:
        """The URL of a second web process of this installation, for as long as the block lasts."""
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        self.start_web(port, "second", **environ)
        try:
            self.wait_ready(name="second", base=base)
            yield base
        finally:
            self.kill("second")

    def wait_ready(self, seconds: float = LIMIT_S, *, name: str = "web", base: str = "") -> None:
        """Until a completion is answered."""
        deadline = time.monotonic() + seconds
        body = {"model": MODEL, "prompt": "a", "max_tokens": 1}
        while True:
            with suppress(httpx.TransportError):
                reply = httpx.post(
                    f"{base or self.base}/v1/completions", json=body, headers=self.headers,
                    timeout=LIMIT_S, trust_env=False,
                )  # fmt: skip
                if reply.status_code == 200:
                    return
            if time.monotonic() > deadline or self.processes[name].poll() is not None:
                logs = "".join(f"{p}:\n{self.log(p)}" for p in self.processes)
                raise RuntimeError(f"{name} is not ready\n{logs}")
            time.sleep(0.05)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        self.processes[name].send_signal(number)
        self.processes[name].wait(LIMIT_S)

    def stop(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(LIMIT_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(
        self, name: str, command: list[str], *, pass_fds: Sequence[int] = (), **environ: str
    ) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                env=self.environ | environ,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
            )


def own_database() -> dict[str, str]:
    """Settings of a new database on the run's PostgreSQL; none where the run uses SQLite."""
    if "PAGODA_DATABASE_URL" not in os.environ:
        return {}
    url, name = os.environ["PAGODA_DATABASE_URL"], f"stack_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    given = {key: os.environ[key] for key in ("PAGODA_SECRET_KEY", "PAGODA_KEY_PEPPER")}
    return {"PAGODA_DATABASE_URL": url.replace("/pagoda?", f"/{name}?"), **given}


def start_stack(*fake_flags: str, real_engine: bool = False) -> Stack:
    """Prepare a home with a database, a model and two keys, and start everything."""
    from inference_site.launcher.random_model import write

    folder = Path(tempfile.mkdtemp(prefix="pgd-stack-"))
    write(folder / "model")
    vocab = json.loads((folder / "model" / "config.json").read_text())["vocab_size"]
    redis_url = f"unix://{folder}/redis.sock"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")}
    env |= {
        "PAGODA_HOME": str(folder / "home"),
        "PAGODA_REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "inference_site.settings",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PAGODA_BAN_AFTER": "0",  # its tests send more wrong keys a minute than a client may
        **own_database(),
    }
    port = free_port()
    stack = Stack(f"http://127.0.0.1:{port}", {}, redis_url, env, folder)
    try:
        stack.start_redis()
        if real_engine:
            stack.start_real_engine()
        else:
            stack.start_engine(*fake_flags)
        stack.keys |= _prepared(stack, vocab)
        stack.start_web(port)
        stack.wait_ready()
    except BaseException:
        stack.stop()
        raise
    return stack


def _prepared(stack: Stack, vocab: int) -> dict[str, str]:
    """Fill the database; name → text of the keys."""
    command = [sys.executable, "-c", PREPARE, str(stack.folder / "model"), str(vocab), str(CONTEXT)]
    done = subprocess.run(command, env=stack.environ, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    keys: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return keys
