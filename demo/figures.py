"""Brings README.md, evaluation.json and curves.svg up to date: `python -m demo.figures [FILE ...]`.

Files are further `evaluation.json`; their parts are added to the committed one, later files first
to be believed. What README.md has between `<!-- name -->` and `<!-- /name -->` is written anew.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

from demo.corpus.core import Json, join_words
from demo.curves import draw
from demo.evaluate import BY_HAND, GOALS
from demo.train import ADAPTERS, Plan

HERE = Path(__file__).parent


def merged(reports: list[dict[str, Json]]) -> dict[str, Json]:
    """All parts, in the order of the goals; of a part in several reports the last one.

    Raises `SystemExit` where two reports have other seeds or counts.
    """
    settings = [report["settings"] for report in reports]
    if any(other != settings[0] for other in settings):
        raise SystemExit(f"Reports of different settings cannot be one table: {settings}.")
    parts = {name: part for report in reports for name, part in report.items()}
    known = [name for name in ("settings", *GOALS, "split") if name in parts]
    return {name: parts[name] for name in known}


def table(parts: dict[str, Json]) -> str:
    """The evaluation as a Markdown table, with the device that each row was scored on."""
    rows = ["| part | right | share | goal | on |", "| --- | --- | --- | --- | --- |"]
    for name, part in parts.items():
        if name in GOALS:
            share = part["right"] / part["total"]
            goal = f"{part['goal']:.0%}" + ("" if share >= part["goal"] else " (missed)")
            device = "CPU" if part["device"] == "cpu" else "GPU"
            cells = f"{name} | {part['right']} / {part['total']} | {share:.1%} | {goal} | {device}"
            rows.append(f"| {cells} |")
    return "\n".join(rows)


def by_hand(parts: dict[str, Json]) -> str:
    """The parts by hand, kind by kind."""
    lines = []
    for name in BY_HAND:
        if name in parts:
            kinds = ", ".join(f"{kind} {score}" for kind, score in parts[name]["by_task"].items())
            lines.append(f"- {name} ({parts[name]['right']} / {parts[name]['total']}): {kinds}.")
    return "\n".join(lines)


def phases(log: list[dict[str, Json]]) -> str:
    """Steps and time of each phase; a phase's last line tells both."""
    plan, rows = Plan(), ["| phase | steps × tokens | time |", "| --- | --- | --- |"]
    for name in ("demo", "draft", *ADAPTERS):
        last = [point for point in log if point["phase"] == name][-1]
        tokens = plan.adapter_tokens if name in ADAPTERS else plan.batch_tokens
        shown = "model" if name == "demo" else name
        rows.append(f"| {shown} | {last['step']:,} × {tokens:,} | {last['s']:.0f} s |")
    return "\n".join(rows)


def split(parts: dict[str, Json]) -> str:
    """What the leak check has read."""
    if "split" not in parts:
        return "The check has not been run on this training text."
    found = dict(parts["split"])
    read, leaks = found.pop("training examples"), found.pop("leaks")
    kinds = join_words([f"{count:,} {kind}" for kind, count in found.items()])
    plan = Plan()
    share = f"{read:,} of the {plan.shards * plan.shard_examples:,} training conversations"
    return f"Read: {share}, for {kinds}. Leaks found: {leaks}."


def stories(parts: dict[str, Json]) -> str:
    """The stories that the evaluation kept, with their requests."""
    told = (f"*{kept['user'].strip()}* {kept['reply']}" for kept in parts["story"]["samples"])
    return "\n".join(f"{number}. {story}" for number, story in enumerate(told, 1))


def replaced(text: str, name: str, body: str) -> str:
    """The text with a new body between the two marks of that name; ValueError without them."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"README.md has no block `<!-- {name} -->` … `<!-- /{name} -->`.")
    return marks.sub(lambda found: f"{found[1]}{body}\n{found[2]}", text)


def main() -> None:
    """Merge, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, nargs="*", metavar="FILE")
    parser.add_argument("--new", action="store_true", help="leave out what is committed")
    options = parser.parse_args()
    paths = options.reports if options.new else [HERE / "evaluation.json", *options.reports]
    parts = merged([json.loads(path.read_text()) for path in paths])
    log = [json.loads(line) for line in (HERE / "train_log.jsonl").read_text().splitlines()]
    blocks: dict[str, Callable[[], str]] = {
        "evaluation": lambda: table(parts),
        "by hand": lambda: by_hand(parts),
        "split": lambda: split(parts),
        "stories": lambda: stories(parts),
        "phases": lambda: phases(log),
    }
    readme = (HERE / "README.md").read_text()
    for name, body in blocks.items():
        readme = replaced(readme, name, body())
    (HERE / "README.md").write_text(readme)
    (HERE / "evaluation.json").write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n")
    (HERE / "curves.svg").write_text(draw(log))


if __name__ == "__main__":
    main()
