"""Where the project's own files lie: beside the packages in a checkout, inside them in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
STATIC = PACKAGE / "static"


def _shipped(name: str) -> Path:
    beside = PACKAGE.parent / name
    return beside if (PACKAGE.parent / "pyproject.toml").is_file() else PACKAGE / name


TEMPLATES = _shipped("templates")
DEMO_MODEL = _shipped("demo") / "pagoda-demo"
DEMO_ADAPTERS = _shipped("demo") / "adapters"
