"""What an engine computes, as a trace of torch's profiler for chrome://tracing and Perfetto."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from engine.errors import InvalidRequest
from engine.machine import machine_settings


class StepTrace:
    """One trace at a time. `start` and `stop` belong to the thread that steps."""

    def __init__(self, name: str) -> None:
        self._name = name  # of the files
        self._profiler: Any = None
        self._path = Path()

    @property
    def running(self) -> bool:
        return self._profiler is not None

    def start(self) -> None:
        """Record each operation and Python call from now on, which slows the steps. Raises
        `InvalidRequest` while a trace runs, and unless PAGODA_PROFILE_DIR names a folder that can
        be written."""
        if self.running:
            raise InvalidRequest("A profile runs already: stop it first.")
        self._path = _free_path(self._name)
        from torch import cuda
        from torch.profiler import ProfilerActivity, profile

        kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda.is_available()
        profiler = profile(activities=kinds, with_stack=True)
        profiler.start()
        self._profiler = profiler

    def stop(self) -> Path:
        """Write the trace and give its path; a long one takes seconds. Raises `InvalidRequest`
        when none runs."""
        if not self.running:
            raise InvalidRequest("No profile runs: start one first.")
        try:
            self._profiler.stop()
            self._profiler.export_chrome_trace(str(self._path))
        finally:
            self._profiler = None  # not before the file is whole: others wait for that
        return self._path


def _free_path(name: str) -> Path:
    folder = machine_settings().profile_dir
    if folder is None:
        raise InvalidRequest("There is no folder for profiles: set PAGODA_PROFILE_DIR.")
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise InvalidRequest(f"PAGODA_PROFILE_DIR={folder!r} cannot be written.")
    return path / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09}.json.gz"
