"""Writes the tables of docs/configuration.md and docs/cli.md from settings and flags themselves.

`python docs/tables.py` rewrites the generated part of each; a test compares it with the code.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from engine.config import EngineConfig
from engine.settings import env_name
from inference_site.config import SETTINGS_CLASSES
from inference_site.launcher.flags import flag_rows

HERE = Path(__file__).parent
MARK = "<!-- everything below is written by docs/tables.py -->\n"


def limits(facts: Any) -> str:
    if facts["choices"]:
        return ", ".join(facts["choices"])
    low, high = facts["low"], facts["high"]
    if low is None and high is None:
        return ""
    return f"{'' if low is None else low} … {'' if high is None else high}".strip()


def default_of(field: dataclasses.Field[Any]) -> str:
    return "" if field.default in (None, "") else f"`{field.default}`"


def table(cls: type, name_of: Any) -> str:
    lines = ["| name | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for field in dataclasses.fields(cls):
        facts = field.metadata
        meaning = facts["help"].replace("|", "\\|")
        lines.append(
            f"| `{name_of(field.name)}` | {default_of(field)} | {limits(facts)} | {meaning} |"
        )
    return "\n".join(lines) + "\n"


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def generated() -> str:
    parts = []
    for path in SETTINGS_CLASSES:
        module, _, name = path.partition(":")
        cls = getattr(importlib.import_module(module), name)
        title = (cls.__doc__ or name).strip().splitlines()[0]
        parts.append(f"\n### {title}\n\n{table(cls, env_name)}")
    parts.append(f"\n## Engine options\n\nFlags of `serve`.\n\n{table(EngineConfig, flag)}")
    return "".join(parts)


def flags() -> str:
    rows = [f"| `{name}` | {words.replace('|', chr(92) + '|')} |" for name, words in flag_rows()]
    return "\n".join(["", "| flag | what it does |", "| --- | --- |", *rows, ""])


PARTS = {"configuration.md": generated, "cli.md": flags}


def main() -> None:
    for name, part in PARTS.items():
        file = HERE / name
        head = file.read_text(encoding="utf-8").split(MARK)[0]
        file.write_text(head + MARK + part(), encoding="utf-8")


if __name__ == "__main__":
    main()
