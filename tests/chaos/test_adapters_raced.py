"""Adapters while everything around them moves: two callers at once, versions switched under
traffic, processes killed. The installation is the one of the integration tests."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.integration.lora import files
from tests.integration.lora.conftest import served
from tests.integration.lora.test_routes import client, folder, load, text
from tests.served import Served, wait_for

__all__ = ["client", "folder", "served"]  # fixtures


def test_two_loads_of_one_name_at_once_both_end_well(
    client: httpx.Client, folder: Callable[..., str]
) -> None:
    path = folder()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: load(client, "twice", path).status_code, range(2)))
    assert set(both) <= {200, 400}
    assert 200 in both
    assert text(client, "twice")


def test_switching_under_traffic_loses_no_request_and_mixes_nothing(
    client: httpx.Client, served: Served, folder: Callable[..., str]
) -> None:
    right = set()
    for _ in range(2):
        assert load(client, "sure", folder(), load_inplace=True).status_code == 200
        right.add(text(client, "sure"))
    seen: list[str] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as mine:
            mine.headers["Authorization"] = client.headers["Authorization"]
            while not over.is_set():
                seen.append(text(mine, "sure"))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        for number in (1, 2, 1, 2):
            body = {"version": number}
            assert client.post("/api/adapters/sure/roll_back", json=body).status_code == 200
        over.set()
        for future in asking:
            future.result()
    assert set(seen) == right


def test_adapters_are_back_after_everything_was_killed(
    client: httpx.Client, served: Served, folder: Callable[..., str]
) -> None:
    assert load(client, "stays", folder()).status_code == 200
    said = text(client, "stays")
    for word in ("engine.testing", "inference_site.worker", "inference_site agent"):
        served.child(word).kill()
    assert text(client, "stays") == said
    assert load(client, "after", folder()).status_code == 200


def test_adapters_survive_a_restart_of_everything(tmp_path: Path) -> None:
    env = {"PAGODA_ENGINE_COMMAND": "engine.testing"}
    ask = {"prompt": "Once", "max_tokens": 8, "temperature": 0}
    mine = files.adapter(tmp_path / "mine", lora_alpha=3)
    first = Served(tmp_path / "home", "--lora-modules", f"mine={mine}", env=env)
    try:
        first.wait_healthy(120)
        wait_for(lambda: "mine" in _names(first), within_s=60, what="the adapter")
        said = first.post("/v1/completions", {"model": "mine", **ask})["choices"][0]["text"]
        first.post("/api/adapters/terse/unload", {})
    finally:
        first.destroy()  # kill -9 of the launcher takes everything along
    shutil.rmtree(mine)  # the store has it
    second = Served(tmp_path / "home", env=env)
    try:
        second.wait_healthy(120)
        assert {"mine", "pirate"} <= _names(second)
        assert "terse" not in _names(second)
        again = second.post("/v1/completions", {"model": "mine", **ask})["choices"][0]["text"]
        assert again == said
    finally:
        second.destroy()


def _names(served: Served) -> set[str]:
    return {card["id"] for card in served.get("/v1/models")["data"]}
