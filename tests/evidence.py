"""Measured reliability: one JSON file per claim in docs/reliability/, one page made of them.

A release-sized run ends with `add(…)`; `python -m tests.evidence` writes docs/reliability.md anew.
A layout test compares the page with the files, so that no figure stands without its file.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reliability"
PAGE = ROOT / "docs" / "reliability.md"
MARK = "<!-- everything below is written by python -m tests.evidence -->\n"
HOLDS = {
    "=": lambda figure, bound: figure == bound,
    "<=": lambda figure, bound: figure <= bound,
    ">=": lambda figure, bound: figure >= bound,
}
Figures = dict[str, int | float]


class Run(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One run of the command. `counts` of several runs are added, of `peaks` the largest stands."""

    commit: str
    at: str  # UTC, to the second
    seed: int
    duration_s: float
    counts: Figures
    peaks: Figures = {}
    note: str = ""


class Evidence(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A claim's file. `goals` names a figure and its bound: `{"lost": "= 0"}`."""

    title: str
    command: str
    goals: dict[str, str]
    runs: list[Run]

    @property
    def figures(self) -> Figures:
        total: Figures = {}
        for run in self.runs:
            for name, value in run.counts.items():
                total[name] = total.get(name, 0) + value
            for name, value in run.peaks.items():
                total[name] = max(total.get(name, value), value)
        return total


def add(
    name: str, *, title: str, command: str, goals: Mapping[str, str], seed: int,
    duration_s: float, counts: Mapping[str, int | float],
    peaks: Mapping[str, int | float] | None = None, note: str = "", keep: bool = False,
) -> None:  # fmt: skip
    """Put a run into docs/reliability/NAME.json and write the page. With `keep` it joins the runs
    before it; without, it takes their place."""
    path = FOLDER / f"{name}.json"
    runs = read(path).runs if keep and path.exists() else []
    run = Run(
        commit=commit(), at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), seed=seed,
        duration_s=round(duration_s, 1), counts=dict(counts), peaks=dict(peaks or {}), note=note,
    )  # fmt: skip
    made = Evidence(title=title, command=command, goals=dict(goals), runs=[*runs, run])
    FOLDER.mkdir(exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    os.replace(fresh, path)
    write_page()


def commit() -> str:
    """The commit that is checked out, with a `+` where files other than documents differ."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.check_output([*git, "rev-parse", "--short=9", "HEAD"], text=True).strip()
    differ = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ":(exclude)docs"], check=False)
    return name + "+" * differ.returncode


def read(path: Path) -> Evidence:
    """Raises `msgspec.ValidationError`, naming the field, for a file of another form."""
    return msgspec.json.decode(path.read_bytes(), type=Evidence)


def page() -> str:
    """The generated part: a section per file, in the order of their names."""
    return "".join(section(path, read(path)) for path in sorted(FOLDER.glob("*.json")))


def section(path: Path, made: Evidence) -> str:
    last = made.runs[-1]
    commits = ", ".join(f"`{name}`" for name in dict.fromkeys(run.commit for run in made.runs))
    hours = sum(run.duration_s for run in made.runs)
    facts = f"{len(made.runs)} run(s), {hours:,.0f} s in all, last {last.at[:10]}"
    lines = [
        f"\n## {made.title}\n",
        f"`{made.command}`; {facts}; commit {commits}; last seed {last.seed};",
        f"[reliability/{path.name}](reliability/{path.name}).\n",
        "| figure | measured | goal | holds |",
        "| --- | --- | --- | --- |",
    ]
    for name, value in made.figures.items():
        goal = made.goals.get(name, "")
        holds = "" if not goal else "yes" if reached(value, goal) else "**no**"
        lines.append(f"| {name} | {value:,} | {goal} | {holds} |")
    lines += [f"| {name} | not measured | {made.goals[name]} | **no** |" for name in missing(made)]
    notes = dict.fromkeys(run.note for run in made.runs if run.note)
    return "\n".join(lines) + "\n" + "".join(f"\n{note}\n" for note in notes)


def reached(value: float, goal: str) -> bool:
    sign, bound = goal.split()
    return HOLDS[sign](value, float(bound))


def missing(made: Evidence) -> list[str]:
    return [name for name in made.goals if name not in made.figures]


def write_page() -> None:
    head = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(head + MARK + page(), encoding="utf-8")


if __name__ == "__main__":
    write_page()
