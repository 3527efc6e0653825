"""The agent reports the GPUs that NVIDIA's tool names, and never waits for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.models.agent import gpus
from apps.models.engine_services import host_seen
from apps.models.models import Host
from tests.served import wait_for

SAID = "NVIDIA H200, 143771, 143000, 9.0"
H200 = {
    "name": "NVIDIA H200",
    "memory_bytes": 143771 << 20,
    "free_bytes": 143000 << 20,
    "capability": 9.0,
}
MakeWatch = Callable[[str], gpus.GpuWatch]


@pytest.fixture
def watch_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWatch]:
    """A watch whose `nvidia-smi` is the shell script given."""
    made: list[gpus.GpuWatch] = []

    def make(script: str) -> gpus.GpuWatch:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(gpus, "version", lambda name: "2.13.0+cu130")
        made.append(gpus.GpuWatch())
        return made[-1]

    yield make
    for watch in made:
        if watch.asked is not None:
            watch.asked.kill()
            watch.asked.communicate()


def test_answer_comes_a_turn_later(watch_of: MakeWatch) -> None:
    watch = watch_of(f'echo "{SAID}"; echo "{SAID}"')
    assert watch.turn() == []
    assert wait_for(watch.turn, within_s=20, what="the tool's answer") == [H200, H200]


def test_tool_is_asked_for_what_is_read(watch_of: MakeWatch, tmp_path: Path) -> None:
    watch = watch_of(f'echo "$@" > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/asked')
    watch.turn()
    wait_for((tmp_path / "asked").is_file, within_s=20, what="the tool's arguments")
    asked = (tmp_path / "asked").read_text()
    assert "--query-gpu=name,memory.total,memory.free,compute_cap" in asked
    assert "--format=csv,noheader,nounits" in asked


def test_tool_that_hangs_holds_nobody_and_is_ended(watch_of: MakeWatch) -> None:
    watch = watch_of("exec sleep 600")
    began = time.monotonic()
    for _ in range(gpus.HANGS_AFTER_TURNS + 1):
        assert watch.turn() == []
    assert time.monotonic() - began < 60
    asked = watch.asked
    assert asked is not None
    assert asked.wait(20) == -9


def test_words_of_a_driver_in_trouble_are_no_gpu() -> None:
    assert gpus.parse("NVIDIA-SMI has failed because it could not reach the driver.\n") == []
    assert gpus.parse(f"Unit, [N/A], [N/A], 12.1\n{SAID}\n") == [H200]


def test_engines_of_a_torch_without_cuda_have_no_gpus(
    watch_of: MakeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_of(f'echo "{SAID}"')
    monkeypatch.setattr(gpus, "version", lambda name: "2.13.0+cpu")
    watch = gpus.GpuWatch()
    watch.turn()
    assert watch.asked is None


@pytest.mark.django_db
def test_host_keeps_its_gpus_until_the_agent_says_otherwise() -> None:
    host_seen(name="node", agent_pid=1, gpus=[H200])
    host_seen(name="node", agent_pid=1)
    assert Host.objects.get().gpus == [H200]
    host_seen(name="node", agent_pid=1, gpus=[])
    assert Host.objects.get().gpus == []
