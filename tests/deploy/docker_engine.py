"""A Docker engine of the test's own: started by hand as root, its images kept between runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("PAGODA_DEPLOY_CACHE", "/var/tmp/pagoda-deploy"))
KEPT_CACHE = "8GB"
NEEDED = {
    "dockerd": "docker.io",
    "docker-compose": "docker-compose",
    "debootstrap": "debootstrap",
    "openssl": "openssl",
    "promtool": "prometheus",
}


def refuse(words: str) -> None:
    """End the run as failed: a machine without Docker has shown nothing."""
    sys.exit(f"tests/deploy/run: {words}")


def check_programs() -> None:
    missing = sorted({package for name, package in NEEDED.items() if shutil.which(name) is None})
    if missing:
        refuse(f"on Debian, first: apt-get install {' '.join(missing)}")
    if os.getuid() != 0:
        refuse("it starts a Docker engine and makes a base image: run it as root.")


def environment() -> dict[str, str]:
    """For every docker command: our engine, and the builder that knows cache mounts."""
    # Debian's client speaks to BuildKit by itself; others need a plug-in.
    path = f"/usr/bin:{os.environ['PATH']}"
    return os.environ | {
        "PATH": path,
        "DOCKER_HOST": f"unix://{CACHE}/docker.sock",
        "DOCKER_BUILDKIT": "1",
        "COMPOSE_DOCKER_CLI_BUILD": "1",
    }


def docker(*arguments: str, check: bool = True, quiet: bool = True) -> str:
    """Output of one docker command. Raises with what it said when it fails."""
    return said("docker", *arguments, check=check, quiet=quiet)


def said(*command: str, check: bool = True, quiet: bool = True, **more: str) -> str:
    done = subprocess.run(
        command,
        env=environment() | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout)[-3000:]}")
    return done.stdout.strip()


def health(container: str) -> str:
    """What the container's own check says: starting, healthy or unhealthy."""
    return docker("inspect", "--format", "{{.State.Health.Status}}", container)


def tidy() -> None:
    """Keep one image of each kind, no volume, and as much cache as a build of them all takes."""
    docker("image", "prune", "--force", check=False)
    docker("volume", "prune", "--force", check=False)  # docker-compose 1.29 leaves nameless ones
    docker("builder", "prune", "--force", "--keep-storage", KEPT_CACHE, check=False)


@contextmanager
def engine() -> Iterator[None]:
    """Runs while the block lasts. Refuses the run when it does not come up."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(f"another run uses {CACHE}: wait for it, or set PAGODA_DEPLOY_CACHE.")
        with _daemon():
            yield


@contextmanager
def _daemon() -> Iterator[None]:
    command = ["dockerd", "--data-root", str(CACHE / "data"), "--exec-root", str(CACHE / "exec")]
    command += ["--pidfile", str(CACHE / "pid"), "--host", f"unix://{CACHE}/docker.sock"]
    with (CACHE / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while "Server Version" not in docker("info", check=False):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = (CACHE / "dockerd.log").read_text(errors="replace")[-2000:]
                refuse(f"dockerd did not start:\n{tail}")
            time.sleep(0.5)
        try:
            yield
        finally:
            tidy()
    finally:
        process.terminate()
        process.wait(60)
