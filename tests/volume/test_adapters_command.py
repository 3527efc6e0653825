"""`pagoda adapters` beside a running `serve`: each call is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.integration.lora import files
from tests.integration.lora.conftest import served
from tests.integration.lora.test_routes import client, text
from tests.served import Served

__all__ = ["client", "served"]  # fixtures


def test_command_line_adds_lists_and_refuses(
    client: httpx.Client, served: Served, tmp_path: Path
) -> None:
    made = files.adapter(tmp_path / "cli", lora_alpha=5)
    assert pagoda(served, "adapters", "add", "cli", str(made)) == (0, "added")
    assert text(client, "cli") != text(client, "pagoda-demo")
    status, listed = pagoda(served, "adapters", "list")
    assert status == 0
    assert "cli  ready  on pagoda-demo" in listed
    status, words = pagoda(served, "adapters", "remove", "cli")
    assert status == 1
    assert "Unload it first" in words


def pagoda(served: Served, *words: str) -> tuple[int, str]:
    """Exit status and what was said."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")}
    done = subprocess.run(
        [sys.executable, "-m", "inference_site", *words],
        env=env | {"PAGODA_HOME": str(served.home)}, capture_output=True, text=True,
        cwd=served.home.parent,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).strip()
