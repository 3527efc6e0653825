"""Builds the C sources of this folder into one shared library in a cache folder.

The file name holds a hash of sources, flags, compiler and CPU, so that a changed source or another
machine on the same home never loads a stale build. A finished build appears by atomic rename.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).parent
_FLAGS = [
    *("-O3", "-march=native", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno"),
    *("-fvisibility=hidden", "-fPIC", "-shared", "-pthread"),
]
_LIMIT_S = 120


class NoCompiler(RuntimeError):
    """No C compiler here, or it cannot build our sources; the message says which."""


def build_library(cache_dir: Path) -> Path:
    """Path of the library, built if it is not there yet. Raises `NoCompiler`."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler("cc, gcc and clang are not on PATH")
    target = cache_dir / f"kernels-{_key(compiler)}.so"
    if target.is_file():
        return target
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
            built = Path(scratch) / "kernels.so"
            _compile(compiler, built)
            os.replace(built, target)
    except OSError as error:
        raise NoCompiler(f"cannot write to {cache_dir}: {error}") from None
    return target


def _compile(compiler: str, target: Path) -> None:
    sources = [str(path) for path in sorted(_FOLDER.glob("*.c"))]
    command = [compiler, *_FLAGS, *sources, "-lm", "-o", str(target)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoCompiler(f"{compiler} took more than {_LIMIT_S} s") from None
    if done.returncode:
        raise NoCompiler(f"{compiler} failed: {done.stderr.strip()[-500:]}")


def _key(compiler: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.glob("*.[ch]")):
        digest.update(path.name.encode() + path.read_bytes())
    for part in (*_FLAGS, compiler, platform.machine(), _cpu_flags()):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def _cpu_flags() -> str:
    """Instruction sets of this CPU, as -march=native will see them."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    except OSError:
        pass
    return platform.processor()
