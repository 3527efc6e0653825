"""The images' package lists hold what pyproject.toml asks for, each package once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def names(lines: list[str]) -> set[str]:
    stated = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return {re.split(r"[\[<>=!~;]", line)[0].strip().lower().replace("_", "-") for line in stated}


def listed(file: str) -> set[str]:
    return names((ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines())


def test_web_and_engine_lists_are_the_dependencies_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    web, engine = listed("web.in"), listed("engine.in")
    assert web | engine == names(project["dependencies"])
    assert not web & engine
    assert not web & {"torch", "triton", "transformers", "xgrammar"}


def test_every_listed_package_is_pinned() -> None:
    assert listed("web.in") | listed("engine.in") <= listed("cpu.lock")
