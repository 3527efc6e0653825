"""Every image of docker-compose.yml, built here: a base by debootstrap, wheels from the machine's
package index, stand-ins for the official images from Debian's packages."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deploy.docker_engine import CACHE, docker, environment, said

BASE = "pagoda-test/base"
STAND_INS = ("postgres", "redis", "nginx", "prometheus")
PACKAGES = "ca-certificates,python3,python3-dev,python3-venv"  # headers too, as python:3.11 has
CPUS_ALONE = "computes on CPUs alone"  # what Dockerfile says of a torch that is of no use on a GPU


def base() -> None:
    """Debian with Python, as `python:3.11-slim` has it."""
    if docker("images", "--quiet", BASE):
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        said("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder)
        tar = subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(
            ["docker", "import", "-", BASE], stdin=tar.stdout, env=environment(), check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if tar.wait():
            raise RuntimeError("tar of the base image failed")


def wheels(tree: Path) -> None:
    """Fetch what the images install and is not here yet; Debian's Python 3.11.2 asks for one
    package more."""
    kept = CACHE / "wheels"
    kept.mkdir(exist_ok=True)
    lists = [tree / "requirements" / name for name in ("cpu.lock", "web.in", "engine.in")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in lists)).hexdigest()
    complete = kept / f"{digest}.complete"
    if not complete.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(kept)]
        command += ["-c", "requirements/cpu.lock", "-r", "requirements/web.in"]
        command += ["-r", "requirements/engine.in", "setuptools", "async-timeout"]
        subprocess.run(command, cwd=tree, check=True, stderr=subprocess.DEVNULL)
        complete.touch()
    for wheel in kept.glob("*.whl"):
        shutil.copy(wheel, tree / "deploy" / "wheels")


def build(tree: Path) -> dict[str, str]:
    """Build all from a copy of the repository; returns what makes docker-compose.yml use them."""
    base()
    wheels(tree)
    here = tree / "tests" / "deploy" / "images"
    for name in STAND_INS:
        _build(here, name, f"pagoda-test/{name}")
    for target in ("web", "engine-cpu"):
        _build(tree, target, f"pagoda-test/{target}")
    return {
        "PAGODA_WEB_IMAGE": "pagoda-test/web",
        "PAGODA_ENGINE_CPU_IMAGE": "pagoda-test/engine-cpu",
        "POSTGRES_IMAGE": "pagoda-test/postgres",
        "REDIS_IMAGE": "pagoda-test/redis",
        "PROXY_IMAGE": "pagoda-test/nginx",
        "PROMETHEUS_IMAGE": "pagoda-test/prometheus",
    }


def cuda(tree: Path) -> bool:
    """Whether engine-cuda builds exactly if the wheels' torch has CUDA; else it must say so."""
    on_cpus = any((tree / "deploy" / "wheels").glob("torch-*+cpu-*.whl"))
    try:
        _build(tree, "engine-cuda", "pagoda-test/engine-cuda")
    except RuntimeError as error:
        return on_cpus and CPUS_ALONE in str(error)
    return not on_cpus


def _build(folder: Path, target: str, tag: str) -> None:
    sys.stdout.write(f"  building {tag}\n")
    sys.stdout.flush()
    docker("build", "--build-arg", f"BASE_IMAGE={BASE}", "--target", target, "-t", tag, str(folder))
