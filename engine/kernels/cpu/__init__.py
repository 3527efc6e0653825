"""Compiled CPU kernels: C sources beside this file, built once per machine, called by ctypes.

`library()` is None where there is no C compiler; every op then uses its torch reference.
"""

from __future__ import annotations

import logging
from pathlib import Path

from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.cpu.build import NoCompiler, build_library

log = logging.getLogger(__name__)
DEFAULT_CACHE = Path("~/.cache/pagoda")


class _State:
    """What this process has decided: nothing yet, no library, or one library."""

    cache_dir: Path = DEFAULT_CACHE
    wanted: bool = True
    tried: bool = False
    loaded: CpuLibrary | None = None


def configure(*, cache_dir: Path = DEFAULT_CACHE, compiled: bool = True) -> None:
    """Where to build, and whether to use compiled kernels at all. Call before loading weights."""
    if cache_dir != _State.cache_dir:
        _State.tried = False
    _State.cache_dir, _State.wanted = cache_dir, compiled


def library() -> CpuLibrary | None:
    """The compiled kernels, built on first use (about four seconds), or None."""
    if not _State.wanted:
        return None
    if not _State.tried:
        _State.tried = True
        try:
            _State.loaded = CpuLibrary(build_library(_State.cache_dir.expanduser()))
        except NoCompiler as error:
            log.warning("cpu_kernels_not_compiled %s", error)
            _State.loaded = None
    return _State.loaded
