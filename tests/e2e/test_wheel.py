"""A wheel built from the tree serves without the tree: templates, static files, Lua, C and demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request

import pytest

from tests.served import ROOT, serving


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files alone in a folder that comes first on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    # setuptools would pack what an earlier build left there, also files that are gone from the tree
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)],
        check=True,
        timeout=110,
    )
    (wheel,) = folder.glob("pagoda-*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)],
        check=True,
        timeout=110,
    )
    return folder / "site"


@pytest.mark.timeout(240)
def test_a_wheel_serves_the_model_and_the_admin(installed, tmp_path):
    env = {"PYTHONPATH": str(installed), "PAGODA_CACHE_DIR": str(tmp_path / "cache")}
    where = subprocess.run(
        [sys.executable, "-c", "import inference_site, engine; print(inference_site.__path__[0])"],
        env=os.environ | env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.strip() == str(installed / "inference_site")
    with serving(tmp_path / "home", env=env, program=("-m", "inference_site.cli")) as served:
        model = served.get("/v1/models")["data"][0]["id"]
        asked = {"model": model, "prompt": "Hi", "max_tokens": 3, "ignore_eos": True}
        reply = served.post("/v1/completions", asked)
        assert reply["usage"]["completion_tokens"] == 3
        with urllib.request.urlopen(f"{served.url}/admin/login/", timeout=30) as page:
            html = page.read().decode()
        assert "Pagoda" in html
        style = next(part for part in html.split('"') if part.startswith("/static/"))
        assert served.status(style) == 200
