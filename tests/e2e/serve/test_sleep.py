"""What admins tell running engines: sleep, forget prefixes, trace what they compute."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.serve.test_commands import manage
from tests.served import Served, wait_for


@pytest.fixture(scope="module")
def admin(served: Served) -> Iterator[httpx.Client]:
    key = manage(served, "keys", "create", "sleeper", "--scope", "admin", "--scope", "inference")
    headers = {"Authorization": f"Bearer {key.stdout.split()[-1]}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60, trust_env=False) as http:
        yield http


def sleeping(admin: httpx.Client) -> bool:
    return bool(admin.get("/is_sleeping").json()["is_sleeping"])


def test_requests_wait_for_a_sleeping_engine(admin: httpx.Client, model: str) -> None:
    body = {"model": model, "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}

    def answer() -> str:
        return str(admin.post("/v1/completions", json=body).json()["choices"][0]["text"])

    before = answer()
    assert not sleeping(admin)
    assert admin.post("/wake_up?tags=weights").headers["x-pagoda-ignored"] == "tags"
    assert admin.post("/wake_up", json={"level": 2}).headers["x-pagoda-ignored"] == "level"
    assert admin.post("/sleep?level=1").status_code == 200
    assert sleeping(admin)
    assert admin.get("/health").status_code == 200  # it is as it was told to be
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(answer)
        wait_for(lambda: admin.get("/load").json()["server_load"] == 1, what="the request")
        assert admin.post("/wake_up").status_code == 200
        assert not sleeping(admin)
        assert waiting.result(60) == before
    assert admin.get("/load").json() == {"server_load": 0}


def test_forgotten_prefixes_are_computed_again(admin: httpx.Client, model: str) -> None:
    body = {"model": model, "prompt": "A long prompt to be shared. " * 20, "max_tokens": 1}

    def cached() -> int:
        usage = admin.post("/v1/completions", json=body).json()["usage"]
        return int(usage["prompt_tokens_details"]["cached_tokens"])

    cached()
    assert cached() > 0
    assert admin.post("/reset_prefix_cache").status_code == 200
    wait_for(lambda: cached() == 0 or admin.post("/reset_prefix_cache").is_error, what="a reset")


def test_a_profile_holds_the_steps_of_its_time(
    admin: httpx.Client, served: Served, model: str
) -> None:
    assert admin.post("/start_profile").status_code == 200
    body = {"model": model, "prompt": "Once upon a time", "max_tokens": 3, "ignore_eos": True}
    assert admin.post("/v1/completions", json=body).status_code == 200
    assert admin.post("/stop_profile").status_code == 200
    assert admin.post("/stop_profile").status_code == 200  # nothing is left to do
    (path,) = (served.home.parent / "profiles").iterdir()
    with gzip.open(path) as file:
        names = {str(event.get("name")) for event in json.load(file)["traceEvents"]}
    assert any("engine/core.py" in name and name.endswith("step") for name in names)


def test_only_the_first_level_and_only_for_admins(
    admin: httpx.Client, served: Served, model: str
) -> None:
    refused = admin.post("/sleep?level=2")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "level")
    own = {"Authorization": f"Bearer {served.boot['api_key']}"}
    posts = ("/sleep", "/wake_up", "/reset_prefix_cache", "/start_profile", "/stop_profile")
    for method, path in (*(("POST", path) for path in posts), ("GET", "/is_sleeping")):
        assert admin.request(method, path, headers=own).status_code == 403
    assert not sleeping(admin)
