"""`python -m tests.chaos.crash_points --rounds n`: every point of `crash.POINTS`, once a round.

One settler, one engine and both web processes are armed at a time, while customers ask. When all
points were passed the books are compared and the round is added to docs/reliability/.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from tests import evidence
from tests.chaos import books
from tests.chaos.crash import POINTS
from tests.chaos.fleet import ROOT, Fleet, running

ARMED = {"settler": ("settler0",), "engine": ("engine0",), "web": ("web0", "web1")}
CREW = ("engine0", "engine1", "web0", "web1", "settler0", "redis")  # one judge: the armed one
PATIENCE_S = 90.0  # for one point to be passed
DEATHS = ("judge", "web: told", "web: queued", "web: gave up")
IDLE_S = 4.0  # then an engine dies, for points that begin so
ONCE_S = 600.0
MANAGE = str(ROOT / "manage.py")
UNREVOKED = "revoked keys that still worked"


@dataclass(slots=True)
class Lane:
    """One armed process after another."""

    name: str
    points: list[str]
    rng: random.Random
    armed: str = ""
    since: float = 0.0
    reached: dict[str, int] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return not self.points and not self.armed

    def tend(self, fleet: Fleet) -> None:
        """Note a crash and arm the next process."""
        process = fleet.process(self.name)
        code = process.poll()
        if code is None and self.armed and time.monotonic() - self.since < PATIENCE_S:
            return
        if code is None:
            process.kill()
        elif code != -signal.SIGKILL:
            raise AssertionError(f"{self.name} ended with {code} at {self.armed!r}")
        if self.armed:
            self.reached[self.armed] = int(code is not None)
            tell(self.armed, code is not None, time.monotonic() - self.since)
        self.armed = self.points.pop(0) if self.points else ""
        self.since = time.monotonic()
        fleet.replace(self.name, wrapper(self.armed, self.rng) if self.armed else ())


def tell(point: str, reached: bool, after_s: float) -> None:
    sys.stderr.write(f"{point}: {'killed' if reached else 'not passed'} after {after_s:.0f} s\n")


def wrapper(point: str, rng: random.Random) -> list[str]:
    nth = rng.randint(1, POINTS[point].up_to)
    return ["-m", "tests.chaos.crash", point, str(nth)]


def crash_all(fleet: Fleet, rng: random.Random) -> dict[str, int]:
    """Pass every point once. Returns 1 for those reached, and 0 for the others."""
    rebuilt = {}  # first: while the day has few rows
    for point in names_of("rebuild"):
        command = [*wrapper(point, rng), "-m", "tests.chaos.rebuild_today"]
        rebuilt[point] = int(run_once(fleet, command) == -signal.SIGKILL)
    lanes = [
        Lane(name, names_of(role)[number :: len(names)], rng)
        for role, names in ARMED.items()
        for number, name in enumerate(names)
    ]
    died_at = time.monotonic()
    while not all(lane.over for lane in lanes):
        for lane in lanes:
            if not lane.over:
                before = lane.since
                lane.tend(fleet)
                if lane.name == "engine0" and lane.since != before:
                    died_at = time.monotonic()
        waiting = any(lane.armed.startswith(DEATHS) for lane in lanes)
        if waiting and time.monotonic() - died_at > IDLE_S and fleet.at_work("engine1"):
            fleet.kill("engine1")
            died_at = time.monotonic()
        time.sleep(0.05)
    return rebuilt | {point: count for lane in lanes for point, count in lane.reached.items()}


def names_of(role: str) -> list[str]:
    return [name for name, point in POINTS.items() if point.role == role]


def run_once(fleet: Fleet, arguments: Iterable[str]) -> int:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=fleet.env, cwd=ROOT, capture_output=True, text=True, timeout=ONCE_S
    )
    if done.returncode > 0:
        raise AssertionError(done.stderr)
    return done.returncode


def revoke_all(fleet: Fleet, rng: random.Random) -> dict[str, int]:
    """Kill the process that revokes a key, before and after it tells Redis."""
    found = {UNREVOKED: 0}
    for point in names_of("revoke"):
        key = fleet.python(MANAGE, "keys", "create", f"to revoke {point[-9:]}").split()[-1]
        if not answers(fleet, key, 200):
            raise AssertionError(f"the new key of {point!r} is not accepted")
        arguments = [*wrapper(point, rng), MANAGE, "keys", "revoke", public_id(key)]
        found[point] = int(run_once(fleet, arguments) == -signal.SIGKILL)
        found[UNREVOKED] += not answers(fleet, key, 401)
    return found


def public_id(key: str) -> str:
    return key.split("_")[1]


def answers(fleet: Fleet, key: str, status: int) -> bool:
    """Whether both web processes come to answer a completion with `status`."""
    body = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    headers = {"Authorization": f"Bearer {key}"}
    row, end = 0, time.monotonic() + 30
    while row < 8 and time.monotonic() < end:
        with suppress(httpx.TransportError):
            reply = httpx.post(
                f"{fleet.url}/v1/completions", json=body, headers=headers, timeout=30,
                trust_env=False,
            )  # fmt: skip
            row = row + 1 if reply.status_code == status else 0
    return row == 8


def one_round(seed: int) -> None:
    """Raises `AssertionError` when the books differ."""
    began, rng = time.monotonic(), random.Random(seed)
    with running(Fleet(crew=CREW, seed=seed)) as fleet:
        reached = crash_all(fleet, rng)
        found = revoke_all(fleet, rng)
        fleet.calm_down(within_s=180)
        counts = books.compare(fleet)
        reached |= {point: found[point] for point in names_of("revoke")}
        evidence.add(
            "crash-points",
            title="SIGKILL at named points",
            command="python -m tests.chaos.crash_points --rounds 10",
            goals=dict.fromkeys(POINTS, ">= 10")
            | {"crashes": ">= 240", UNREVOKED: "= 0"}
            | dict.fromkeys(books.ZERO, "= 0"),
            seed=seed,
            duration_s=time.monotonic() - began,
            counts={"crashes": sum(reached.values())}
            | reached
            | {UNREVOKED: found[UNREVOKED]}
            | counts,
            peaks={"named points": len(POINTS)},
            keep=True,
        )
        if faults := books.faults(counts):
            raise AssertionError(f"seed {seed}: {faults}")


def main(arguments: Sequence[str]) -> int:
    flags = argparse.ArgumentParser(prog="python -m tests.chaos.crash_points")
    flags.add_argument("--rounds", type=int, default=1, help="of all points")
    flags.add_argument("--seed", type=int, default=int(time.time()), help="of the first round")
    given = flags.parse_args(arguments)
    for number in range(given.rounds):
        one_round(given.seed + number)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
