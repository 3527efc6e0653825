"""One engine process: how it is started, watched and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.models.services import option_text
from inference_site.process import environment, spawn, stop

LOG_TAIL_BYTES = 16 * 1024
LOG_KEEP_BYTES = 8 * 1024 * 1024
# Engines face untrusted input and need none of these.
SECRET_NAMES = (
    "PAGODA_SECRET_KEY",
    "PAGODA_SECRET_KEY_FILE",
    "PAGODA_KEY_PEPPER",
    "PAGODA_KEY_PEPPER_FILE",
    "PAGODA_DATABASE_URL",
    "PAGODA_BROKER_URL",
    "PAGODA_API_KEY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Everything a start needs."""

    engine_id: str
    model_name: str
    model_path: str
    options: Mapping[str, Any]
    redis_url: str
    module: str
    log_path: Path

    def argv(self) -> list[str]:
        flags = [
            f"--{name.replace('_', '-')}={option_text(value)}"
            for name, value in self.options.items()
            if value is not None
        ]
        return [
            sys.executable,
            "-m",
            self.module,
            f"--engine-id={self.engine_id}",
            f"--model-name={self.model_name}",
            f"--redis={self.redis_url}",
            f"--model={self.model_path}",
            *flags,
        ]


@dataclass(slots=True)
class EngineChild:
    """A running engine. Times are of the agent's monotonic clock."""

    spec: EngineSpec
    instance_id: int
    generation: int
    process: subprocess.Popen[bytes]
    started_at: float
    ready_at: float | None = None
    seen_at: float | None = None  # last heartbeat
    stop_at: float | None = None  # SIGTERM was sent
    last_words: tuple[str, str] | None = field(default=None)  # cause and fix of its heartbeat

    @property
    def stopping(self) -> bool:
        return self.stop_at is not None

    def drain(self, now: float) -> None:
        """Ask it to finish what it has and to exit."""
        if self.stop_at is None:
            self.stop_at = now
            stop(self.process, signal.SIGTERM)

    def kill(self) -> None:
        stop(self.process, signal.SIGKILL)


def engine_start(spec: EngineSpec, *, instance_id: int, generation: int, now: float) -> EngineChild:
    spec.log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _shorten(spec.log_path)
    env = environment(without=SECRET_NAMES)
    with spec.log_path.open("ab") as log_file:
        process = spawn(spec.argv(), env=env, stdout=log_file, stderr=subprocess.STDOUT)
    return EngineChild(spec, instance_id, generation, process, started_at=now)


def log_tail(path: Path, size: int = LOG_TAIL_BYTES) -> str:
    """The last bytes of a log as text, from the start of a line."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            length = file.tell()
            file.seek(max(0, length - size))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text if length <= size else text.partition("\n")[2]


def last_line(path: Path) -> str:
    """The last line that says something: of a traceback, the error."""
    lines = [line.strip() for line in log_tail(path, 4096).splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def _shorten(path: Path) -> None:
    """Start a new file when the old one is large; one older file is kept."""
    if path.is_file() and path.stat().st_size > LOG_KEEP_BYTES:
        path.replace(path.with_suffix(".old.log"))
