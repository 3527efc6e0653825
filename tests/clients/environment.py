"""The clients that cannot live beside the server's pins, in an environment of their own.

`.venv-clients/` is made once from `requirements.txt` here; Node comes from a wheel and its `openai`
package from the npm registry. Run `python -m tests.clients.environment` to make it by hand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.stack import ROOT

HERE = Path(__file__).parent
FOLDER = ROOT / ".venv-clients"
NODE_OPENAI = "7.57.0"
DONE = FOLDER / "made-from.txt"


def python() -> Path:
    return FOLDER / "bin" / "python"


def node() -> Path:
    return FOLDER / "bin" / "node"


def node_modules() -> Path:
    return FOLDER / "node" / "node_modules"


def made() -> Path:
    """Make the environment unless it is there as pinned. Minutes the first time."""
    pins = (HERE / "requirements.txt").read_text() + f"openai (Node) {NODE_OPENAI}\n"
    if not DONE.is_file() or DONE.read_text() != pins:
        run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
        run(str(python()), "-m", "pip", "install", "-q", "-r", str(HERE / "requirements.txt"))
        npm = str(FOLDER / "bin" / "npm")
        folder = str(FOLDER / "node")
        Path(folder).mkdir()
        run(npm, "install", "--prefix", folder, "--no-audit", "--no-fund", f"openai@{NODE_OPENAI}")
        DONE.write_text(pins)
    return FOLDER


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    made()
