"""Child processes that never outlive us: own session, and a signal when the parent dies."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    death_signal: signal.Signals = signal.SIGKILL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in its own session. Linux sends it `death_signal` when this thread ends, so
    call it from the main thread."""
    return subprocess.Popen(
        argv,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
        preexec_fn=_die_with_parent(death_signal),
    )


def environment(*, without: Sequence[str] = (), **more: str) -> dict[str, str]:
    """This process's environment for a child, less the names it must not see."""
    return {name: text for name, text in os.environ.items() if name not in without} | more


def bare_environment(names: Sequence[str], **more: str) -> dict[str, str]:
    """Only these names of this process's environment, for a child that must not see the rest."""
    return {name: os.environ[name] for name in names if name in os.environ} | more


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a child that may have ended already."""
    if process.poll() is None:
        process.send_signal(number)


def resident_bytes(pid: int) -> int:
    """Memory a process of this machine holds; 0 for one that is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def how_it_ended(code: int) -> str:
    """Words for a return code: `exit code 2`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the call above
            os._exit(1)

    return prepare
