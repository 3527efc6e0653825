"""Ctrl-C at any moment of a start: everything ends at once, and nobody sees a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from inference_site.launcher import random_model
from tests.served import LIMIT_S, ROOT, free_port, wait_for

SLOW_LOAD = "slow_engine"


@pytest.fixture
def start(tmp_path: Path):
    """A serve whose engine loads for a minute; its words go to a file."""
    random_model.write(tmp_path / "tiny")
    (tmp_path / f"{SLOW_LOAD}.py").write_text(
        "import sys\nfrom engine.daemon import main_of_fake\n"
        "sys.exit(main_of_fake([*sys.argv[1:], '--load-s=60']))\n"
    )
    env = {name: text for name, text in os.environ.items() if not name.startswith("PAGODA_")} | {
        "PAGODA_HOME": str(tmp_path / "home"),
        "PAGODA_PORT": str(free_port()),
        "PAGODA_ENGINE_COMMAND": SLOW_LOAD,
        "PYTHONPATH": str(tmp_path),
    }
    with (tmp_path / "words").open("wb") as words:
        serve = subprocess.Popen(
            [sys.executable, "manage.py", "serve", str(tmp_path / "tiny")],
            cwd=ROOT,
            env=env,
            stderr=words,
        )
    yield serve, tmp_path / "words"
    serve.kill()
    serve.wait()


def family(serve: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(serve.pid).children(recursive=True)


def command_of(process: psutil.Process) -> str:
    """Empty for one that has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one, too
        return " ".join(process.cmdline())
    return ""


@pytest.mark.parametrize(("moment", "signals"), [("agent", 1), ("engine-id", 1)])
def test_interrupt_during_the_start_ends_everything(start, moment, signals):
    serve, words = start

    def reached():
        return [child for child in family(serve) if moment in command_of(child)]

    wait_for(reached, what=f"a process with {moment}")
    children = family(serve)
    for _ in range(signals):
        serve.send_signal(signal.SIGINT)
    assert serve.wait(timeout=LIMIT_S) == 0
    assert psutil.wait_procs(children, timeout=LIMIT_S)[1] == []
    assert "Traceback" not in words.read_text()
    assert "Stopping" in words.read_text()


def test_interrupt_while_modules_load_is_quiet(start):
    serve, words = start
    maps = Path(f"/proc/{serve.pid}/maps")
    wait_for(lambda: "_hashlib" in maps.read_text(), what="an import of the launcher")
    serve.send_signal(signal.SIGINT)
    assert serve.wait(timeout=LIMIT_S) in (0, -signal.SIGINT)
    assert "Traceback" not in words.read_text()
