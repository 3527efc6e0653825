"""Writes the tables of docs/configuration.md from the settings themselves.

`python docs/tables.py` rewrites the file's generated part; a test compares it with the code.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from engine.config import EngineConfig
from engine.settings import env_name
from inference_site.config import SETTINGS_CLASSES

FILE = Path(__file__).with_name("configuration.md")
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


def main() -> None:
    head = FILE.read_text(encoding="utf-8").split(MARK)[0]
    FILE.write_text(head + MARK + generated(), encoding="utf-8")


if __name__ == "__main__":
    main()
