"""`make chaos HOURS=n`: rounds of kill -9 until the time is over, each added to its record.

A round is a new installation: customers ask, everything is killed at random, then all books are
compared. Rounds take turns: SQLite, PostgreSQL, the real engine on the demo model. What a round
found goes into docs/reliability/, good or bad; a fault also ends the run and keeps its logs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from tests import evidence, postgres
from tests.chaos import books
from tests.chaos.fleet import ROOT, TARGETS, Fleet, running

COMMAND = "make chaos HOURS=n"
DRAIN_S = 180.0
EVERY_S = (2.0, 5.0)
DEMO = ROOT / "demo" / "pagoda-demo"
BAD_SETTLER = ("-m", "tests.chaos.bad_settlers")
MUST_BE_ZERO = dict.fromkeys(books.ZERO, "= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sort of round: its record's title and goals, and who is killed."""

    title: str
    goals: dict[str, str]
    targets: tuple[str, ...] = TARGETS
    share: int = 1  # rounds in a row


KINDS = {
    "sqlite": Kind(
        title="kill -9 of everything, SQLite",
        goals={"kills": ">= 300", "requests": ">= 60000"},
        share=3,
    ),
    "postgresql": Kind(
        title="kill -9 of everything, PostgreSQL",
        goals={"kills": ">= 200", "requests": ">= 40000"},
        share=2,
    ),
    "engine": Kind(
        title="kill -9 of real engines on the demo model",
        goals={"kills of engine": ">= 30"},
        targets=("engine0", "engine1"),
    ),
}


def one_round(
    kind: str, seconds: float, seed: int, customers: int, every_s: tuple[float, float]
) -> None:
    """Storm, drain, compare, record. Raises `AssertionError` when the books differ."""
    began = time.monotonic()
    with database_of(kind) as url:
        model = DEMO if kind == "engine" else None
        with running(Fleet(url, model=model, seed=seed, customers=customers)) as fleet:
            fleet.storm(seconds, random.Random(seed), KINDS[kind].targets, every_s)
            fleet.calm_down(within_s=DRAIN_S)
            counts = books.compare(fleet)
            evidence.add(
                f"chaos-{kind}",
                title=KINDS[kind].title,
                command=COMMAND,
                goals=KINDS[kind].goals | MUST_BE_ZERO,
                seed=seed,
                duration_s=time.monotonic() - began,
                counts=kills(fleet) | counts,
                keep=True,
            )
            if found := books.faults(counts):
                raise AssertionError(f"seed {seed}: {found}")


def kills(fleet: Fleet) -> dict[str, int]:
    by_kind = {f"kills of {kind}": fleet.kills[kind] for kind in sorted(fleet.kills)}
    return {"kills": sum(fleet.kills.values()), **by_kind}


def database_of(kind: str) -> AbstractContextManager[str]:
    """URL of an empty PostgreSQL, or an empty text for SQLite."""
    return postgres.cluster() if kind == "postgresql" else nullcontext("")


def control(name: str, seconds: float, seed: int) -> dict[str, int]:
    """The books of an installation whose settlers are `forgetful` or `doubling`."""
    before = (*BAD_SETTLER, "drop-unique") if name == "doubling" else ()
    settler = (*BAD_SETTLER, name)
    with running(Fleet(settler=settler, before=before, seed=seed)) as fleet:
        fleet.storm(seconds, random.Random(seed), ("settler0", "settler1"), (0.7, 2.0))
        fleet.calm_down(within_s=DRAIN_S)
        return kills(fleet) | books.compare(fleet)


def controls(seconds: float, seed: int) -> None:
    """Both negative controls: the books must show what each of them does."""
    began = time.monotonic()
    lost = control("forgetful", seconds, seed)
    doubled = control("doubling", seconds, seed)
    evidence.add(
        "chaos-controls",
        title="Negative controls: the same books of a settler that breaks a rule",
        command="make chaos ARGS=--controls",
        goals={"rows lost by acknowledging first": ">= 1", "rows doubled without a key": ">= 1"},
        seed=seed,
        duration_s=time.monotonic() - began,
        counts={
            "kills": lost["kills"] + doubled["kills"],
            "requests": lost["requests"] + doubled["requests"],
            "rows lost by acknowledging first": lost["lost"],
            "rows doubled without a key": doubled["doubled"],
        },
    )


def main(arguments: Sequence[str]) -> int:
    flags = argparse.ArgumentParser(prog="python -m tests.chaos.storm")
    flags.add_argument("--hours", type=float, default=1.0, help="rounds begin for this long")
    flags.add_argument("--kinds", default=",".join(KINDS), help="of rounds, by commas")
    flags.add_argument("--round-s", type=float, default=180.0, help="storm of one round")
    flags.add_argument(
        "--every-s", type=float, nargs=2, default=EVERY_S, help="from one kill to the next"
    )
    flags.add_argument("--customers", type=int, default=1, help="processes that ask")
    flags.add_argument("--seed", type=int, default=int(time.time()), help="of the first round")
    flags.add_argument("--controls", action="store_true", help="only the negative controls")
    given = flags.parse_args(arguments)
    if given.controls:
        controls(given.round_s / 6, given.seed)
        return 0
    end, seed = time.monotonic() + given.hours * 3600, given.seed
    while True:
        for kind in given.kinds.split(","):
            for _ in range(KINDS[kind].share):
                if time.monotonic() > end:
                    return 0
                one_round(kind, given.round_s, seed, given.customers, tuple(given.every_s))
                seed += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
