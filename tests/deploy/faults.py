"""What a rolling restart and `kill -9` of each container do to callers and to the books."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from typing import TYPE_CHECKING

import httpx

from tests.deploy.docker_engine import docker, health
from tests.deploy.installation import MODEL, Installation, wait_for

if TYPE_CHECKING:
    from tests.deploy.suite import Checks

STREAMS = 32
CALLERS = 8
STREAM_TOKENS = 64
KILLED = ("web", "engine-cpu", "settler", "worker", "redis", "postgres", "prometheus", "proxy")
BEHIND_A_CONNECTION = ("web", "proxy")  # who is connected to them sees the connection break


@dataclass
class Told:
    """What the callers were told: tokens by request id, and every other end in words."""

    tokens: dict[str, int] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    silent: int = 0  # streams that ended without [DONE] and without an error


def rolling_restart(site: Installation, check: Checks) -> None:
    """Each web container is restarted under load."""
    with uncut(site, check, "a rolling restart"):
        for container in web(site):
            docker("restart", "--time", "150", container)
            wait_for("its health", lambda c=container: health(c) == "healthy", 60)


def upgrade(site: Installation, check: Checks) -> None:
    """Containers of another image take the web tier over, as operations.md tells it."""
    image = site.variables["PAGODA_WEB_IMAGE"]
    docker("tag", image, f"{image}:next")
    site.variables["PAGODA_WEB_IMAGE"] = f"{image}:next"
    old = web(site)
    more = ("up", "-d", "--no-build", "--no-deps", "--no-recreate", "--scale", "web=4", "web")
    with uncut(site, check, "an upgrade of the web tier"):
        site.compose(*more)
        wait_for("their health", lambda: [health(c) for c in web(site)] == ["healthy"] * 4, 120)
        docker("stop", "--time", "150", *old)
        docker("rm", "--volumes", *old)
    check("the new web containers alone remain", len(web(site)) == 2 and not {*old} & {*web(site)})


@contextmanager
def uncut(site: Installation, check: Checks, what: str) -> Iterator[None]:
    """32 callers stream one answer after the other meanwhile; all get all of theirs."""
    with calling(site, STREAMS) as told:
        wait_for("answers", lambda: len(told.tokens) >= STREAMS, 300)
        yield
        enough = len(told.tokens) + STREAMS
        wait_for("answers of the new ones", lambda: len(told.tokens) >= enough, 300)
    check(
        f"{what} under {STREAMS} callers cuts and refuses none of {len(told.tokens)} "
        f"streams {dict(told.failures) or ''}",
        not told.failures and not told.silent,
    )


def web(site: Installation) -> list[str]:
    return site.compose("ps", "-q", "web").split()


def killed(site: Installation, check: Checks, service: str) -> None:
    """SIGKILL from outside, as the kernel does it; Docker restarts the container by itself."""
    container = site.container(service)
    started = inspect(container, "{{.State.StartedAt}}")
    with calling(site, CALLERS) as told:
        wait_for("answers", lambda: len(told.tokens) >= CALLERS, 120)
        os.kill(int(inspect(container, "{{.State.Pid}}")), signal.SIGKILL)
        wait_for(f"{service} up again", lambda: restarted(container, started), 60)
        wait_for("health", site.healthy, 120)
        enough = len(told.tokens) + CALLERS
        wait_for("answers again", lambda: len(told.tokens) >= enough, 180)
    words = f"{len(told.tokens)} answers, {sum(told.failures.values())} errors"
    check(f"kill -9 of {service}: answers again ({words})", told.tokens)
    if service not in BEHIND_A_CONNECTION:
        check(f"kill -9 of {service}: no stream ends without a word", not told.silent)
    wait_for(
        "everything settled",
        lambda: (site.redis("HLEN", "pgd:open"), site.redis("XLEN", "pgd:usage")) == ("0", "0"),
        120,
    )
    rows = billed(site, told.tokens)
    check(f"kill -9 of {service}: one row per answer, with its tokens", rows == told.tokens)


def billed(site: Installation, rids: dict[str, int]) -> dict[str, int]:
    """Tokens by request id as PostgreSQL has them."""
    names = ",".join(f"'{rid}'" for rid in rids)
    query = f"SELECT rid, completion_tokens FROM usage_usagerecord WHERE rid::text IN ({names})"
    rows = [line.split("|") for line in site.sql(query).splitlines()]
    return {rid: int(tokens) for rid, tokens in rows}


@contextmanager
def calling(site: Installation, callers: int) -> Iterator[Told]:
    """That many callers stream answers until the block ends; then the last ones are awaited."""
    told, ended, numbers = Told(), Event(), count()

    def call() -> None:
        while not ended.is_set():
            one_stream(site, f"Tell me of the number {next(numbers)}", told)

    with ThreadPoolExecutor(callers) as pool:
        running: list[Future[None]] = [pool.submit(call) for _ in range(callers)]
        try:
            yield told
        finally:
            ended.set()
        for caller in running:
            caller.result()


def one_stream(site: Installation, prompt: str, told: Told) -> None:
    body = {
        "model": MODEL, "prompt": prompt, "max_tokens": STREAM_TOKENS, "temperature": 0,
        "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    try:
        with site.http.stream(
            "POST", f"{site.url}/v1/completions", headers=site.headers, json=body
        ) as reply:
            if reply.status_code != 200:
                told.failures[f"{reply.status_code} {reply.read().decode()[:100]}"] += 1
                return
            read_stream(reply, told)
    except httpx.HTTPError as error:
        told.failures[type(error).__name__] += 1


def read_stream(reply: httpx.Response, told: Told) -> None:
    last: dict[str, object] = {}
    for line in reply.iter_lines():
        if line == "data: [DONE]":
            rid, used = str(last["id"]).removeprefix("cmpl-"), last["usage"]
            assert isinstance(used, dict)
            told.tokens[rid] = used["completion_tokens"]
            return
        if line.startswith("data: "):
            last = json.loads(line[6:])
            if "error" in last:
                told.failures[str(last["error"])[:100]] += 1
                return
    told.silent += 1


def inspect(container: str, what: str) -> str:
    return docker("inspect", "--format", what, container)


def restarted(container: str, before: str) -> bool:
    running = inspect(container, "{{.State.Running}} {{.State.StartedAt}}").split()
    return running[0] == "true" and running[1] != before
