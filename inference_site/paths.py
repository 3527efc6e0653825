"""Where the project's own files lie."""

from __future__ import annotations

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
MANAGE_PY = PROJECT_ROOT / "manage.py"
DEMO_MODEL = PROJECT_ROOT / "demo" / "pagoda-demo"
