"""Signals of the launcher as something to wait for."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType
from typing import Self


class StopSignals:
    """SIGINT and SIGTERM are counted, SIGCHLD only wakes. A context manager."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, self._stop)  # the terminal was closed
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(-1)
        for end in (self._read, self._write):
            os.close(end)

    @property
    def stop_asked(self) -> bool:
        return self.count > 0

    @property
    def hurry_asked(self) -> bool:
        return self.count > 1

    def wait(self, timeout_s: float | None) -> None:
        """Until a signal arrives or the time is over; None waits for ever."""
        select.select([self._read], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
