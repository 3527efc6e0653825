"""The GPUs of this host and their free memory, as NVIDIA's own tool tells them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from inference_site.process import environment, spawn, stop

QUERY = "--query-gpu=name,memory.total,memory.free,compute_cap"
LINE = re.compile(r"^(.+), (\d+), (\d+), (\d+\.\d+)$", re.MULTILINE)
MIB = 1 << 20
HANGS_AFTER_TURNS = 6  # a driver in trouble keeps the tool for ever


class GpuWatch:
    """Asks `nvidia-smi` and never waits for it: each turn takes the answer to the turn before."""

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi") if engines_may_use_gpus() else None
        self.asked: subprocess.Popen[bytes] | None = None
        self._turns = 0
        self._found: list[dict[str, Any]] = []

    def turn(self) -> list[dict[str, Any]]:
        """One entry a GPU, in the driver's order: name, memory_bytes, free_bytes, capability."""
        if self._program is None:
            return []
        if self.asked is not None and self.asked.poll() is None:
            self._turns += 1
            if self._turns == HANGS_AFTER_TURNS:
                self._found = []
                stop(self.asked, signal.SIGKILL)
            return self._found
        if self.asked is not None and self.asked.stdout is not None:
            with self.asked.stdout as answer:
                self._found = parse(answer.read().decode(errors="replace"))
        argv = [self._program, QUERY, "--format=csv,noheader,nounits"]
        self.asked = spawn(
            argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._turns = 0
        return self._found


def engines_may_use_gpus() -> bool:
    """Whether the PyTorch beside this agent was built for GPUs. Imports nothing of it."""
    try:
        return not version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


def parse(text: str) -> list[dict[str, Any]]:
    """GPUs that say how much memory they have; an error's words give none."""
    return [
        {
            "name": name,
            "memory_bytes": int(total) * MIB,
            "free_bytes": int(free) * MIB,
            "capability": float(capability),
        }
        for name, total, free, capability in LINE.findall(text)
    ]
