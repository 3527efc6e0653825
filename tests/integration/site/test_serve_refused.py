"""A start that cannot work ends with one clear line: what is wrong, what would be right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference_site.launcher import random_model
from tests.served import LIMIT_S, ROOT, free_port


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    random_model.write(folder)
    return folder


def serve(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")}
    return subprocess.run(
        [sys.executable, "manage.py", "serve", *words],
        cwd=ROOT,
        env=clean | {"PAGODA_HOME": str(home), "PAGODA_PORT": str(free_port())} | env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_real_engine_says_cause_and_fix_of_weights_it_cannot_read(model, tmp_path):
    """Through every part: engine, heartbeat, agent, launcher. The loader's tests know the rest."""
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    try:
        done = serve(tmp_path / "home", str(model))
    finally:
        weights.write_bytes(whole)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-3:]
    assert f"tiny cannot be served. {weights} is corrupt" in "\n".join(last)
    assert "Download the checkpoint again." in "\n".join(last)
    assert "Start again when this is mended." in "\n".join(last)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--max-modl-len=5", "--max-modl-len"),
        ("--dtype=float7", "float32"),
        ("--port=70000", "65535"),
        ("--block-size=many", "whole number"),
    ],
)
def test_bad_flag_is_named_before_anything_starts(flag, said, model, tmp_path):
    done = serve(tmp_path / "home", str(model), flag)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "home" / "pagoda.sqlite3").exists()


def test_home_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    done = serve(tmp_path / "file" / "home")
    assert done.returncode == 2
    assert "PAGODA_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_production_database_away_is_refused_in_words(model, tmp_path):
    done = serve(
        tmp_path / "home",
        str(model),
        PAGODA_DATABASE_URL=f"postgresql://pagoda@127.0.0.1:{free_port()}/pagoda",
        PAGODA_SECRET_KEY="s" * 50,
        PAGODA_KEY_PEPPER="p" * 50,
    )
    assert done.returncode == 2
    assert "PAGODA_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_redis_that_is_away_is_refused_in_words(model, tmp_path):
    done = serve(
        tmp_path / "home", str(model), PAGODA_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"
    )
    assert done.returncode == 2
    assert "PAGODA_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr
