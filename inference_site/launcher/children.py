"""The supervised children of `serve`: what runs, what is started again, and when."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inference_site.process import how_it_ended, spawn, stop

FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.2, 30.0
STEADY_AFTER_S = 30.0  # running this long: earlier ends are forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """How one child is started. `name` is unique and shown to people."""

    name: str
    argv: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()
    death_signal: signal.Signals = signal.SIGKILL


@dataclass(slots=True)
class Child:
    """One child over all its restarts."""

    spec: ChildSpec
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    ended_badly: int = 0
    start_at: float = 0.0  # not before; monotonic

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.process = spawn(
            self.spec.argv,
            env=self.env,
            pass_fds=self.spec.pass_fds,
            death_signal=self.spec.death_signal,
        )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            stop(self.process, number)

    def ended(self, now: float) -> str:
        """Plan the restart of a child that is gone; says how it ended."""
        code = self.process.poll() if self.process is not None else 0
        self.process = None
        if now - self.started_at > STEADY_AFTER_S:
            self.ended_badly = 0
        self.start_at = now + min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2**self.ended_badly)
        self.ended_badly += 1
        return how_it_ended(code or 0)


@dataclass(slots=True)
class Children:
    """All children, in the order in which they were added."""

    env: Mapping[str, str]
    say: Callable[[str], None]
    all: dict[str, Child] = field(default_factory=dict)

    def add(self, spec: ChildSpec) -> Child:
        child = self.all[spec.name] = Child(spec, self.env)
        child.start()
        return child

    def restart_ended(self) -> float | None:
        """Start again what is due. Returns seconds until the next start, None if all run."""
        waits: list[float] = []
        for child in self.all.values():
            if child.running:
                continue
            now = time.monotonic()
            if child.process is not None:
                how = child.ended(now)
                self.say(f"{child.spec.name} ended ({how}); starting it again.")
            if now >= child.start_at:
                child.start()
            else:
                waits.append(child.start_at - now)
        return min(waits, default=None)

    def named(self, prefix: str) -> list[Child]:
        return [child for name, child in self.all.items() if name.startswith(prefix)]

    def stop(self, prefix: str, *, within_s: float, hurry: Callable[[], bool]) -> None:
        """SIGTERM, wait, SIGKILL what is left; `hurry` turning true ends the wait."""
        group = [child for child in self.named(prefix) if child.running]
        for child in group:
            child.signal(signal.SIGTERM)
        limit = time.monotonic() + within_s
        while any(child.running for child in group):
            if time.monotonic() > limit or hurry():
                for child in group:
                    child.signal(signal.SIGKILL)
            time.sleep(0.02)


def module(name: str, *argv: str) -> tuple[str, ...]:
    """Command line of one of our modules under this interpreter."""
    return (sys.executable, "-m", name, *argv)
