"""`pagoda run-batch` with the server it starts by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import ROOT

COUNT = 200


def run(folder: Path, *flags: str, kill_after: int | None = None) -> int:
    """Run to the end, or until `kill_after` answers are written; then kill it."""
    words = ["run-batch", "-i", "in.jsonl", "-o", "out.jsonl", "--max-model-len", "256", *flags]
    with (folder / "log").open("ab") as log:
        batch = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *words],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
    out = folder / "out.jsonl"
    while batch.poll() is None and kill_after is not None:
        if out.exists() and out.read_bytes().count(b"\n") >= kill_after:
            batch.kill()
            break
    return batch.wait()


@pytest.mark.timeout(900)
def test_a_killed_batch_ends_with_one_answer_for_each_request(tmp_path):
    lines = [
        {
            "custom_id": f"r{i}",
            "url": "/v1/completions",
            "body": {"model": "pagoda-demo", "prompt": f"{i} is", "max_tokens": 8, "seed": i},
        }
        for i in range(COUNT)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(tmp_path, "--concurrency", "4", kill_after=20) != 0
    assert run(tmp_path) == 0
    answers = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert sorted(answer["custom_id"] for answer in answers) == sorted(
        f"r{i}" for i in range(COUNT)
    )
    assert {answer["response"]["status_code"] for answer in answers} == {200}
    assert len({answer["response"]["request_id"] for answer in answers}) == COUNT
