"""One `serve` per home: a lock that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from engine.settings import SettingError


class HomeLock:
    """Held from construction until `release` or the end of the process."""

    def __init__(self, home: Path) -> None:
        """Raises `SettingError` naming the process that serves this home."""
        self._file = os.open(home / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise SettingError(
                f"Another serve (pid {holder}) runs on {home}. Stop it, or set PAGODA_HOME to "
                "another folder and PAGODA_PORT to another port."
            ) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)
