"""Models from the admin: added, loaded, changed, rested and unloaded, checked at the engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from engine.messages import EngineBeat, unpack
from engine.redis_keys import engine_beat
from inference_site.launcher import random_model
from tests.browser.conftest import PATIENCE_MS, Shot, accessibility_problems, manage
from tests.served import Served, wait_for

LOAD_MS = 240_000
WEIGHTS = "model.safetensors"


def answer(served: Served, model: str) -> int:
    """Status of a completion."""
    reply = httpx.post(
        f"{served.url}/v1/completions",
        headers={"Authorization": f"Bearer {served.boot['api_key']}"},
        json={"model": model, "prompt": "a", "max_tokens": 2},
        timeout=240,
    )
    return reply.status_code


def beats(served: Served, model: str) -> list[EngineBeat]:
    """Heartbeats of a model's engines, as they are in Redis."""
    with served.redis() as client:
        keys = list(client.scan_iter(engine_beat("*")))
        found = [unpack(EngineBeat, data) for data in (client.mget(keys) if keys else []) if data]
    return [beat for beat in found if beat.model == model]


def add_model(page: Page, name: str, folder: Path) -> None:
    page.goto("/admin/catalog/servedmodel/add/")
    page.fill("#id_name", name)
    page.fill("#id_source", str(folder))
    page.click("button[name=_save]")
    page.wait_for_url("**/catalog/servedmodel/")  # the next page must not break the sending off


def open_model(page: Page, name: str) -> None:
    page.goto("/admin/catalog/servedmodel/")
    page.get_by_role("link", name=name, exact=True).click()


@pytest.fixture
def checkpoint(served: Served) -> Iterator[Path]:
    folder = served.home.parent / "tiny"
    random_model.write(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def forget(served: Served) -> Iterator[list[str]]:
    """Models named in the list are gone after the test."""
    names: list[str] = []
    yield names
    for name in names:
        manage(served, f"from apps.models.services import *; model_unload(name={name!r})")
        wait_for(lambda name=name: not beats(served, name), within_s=120, what=f"the end of {name}")
        wait_for(
            lambda name=name: _forgotten(served, name), within_s=120, what=f"forgetting {name}"
        )


def _forgotten(served: Served, name: str) -> bool:
    code = f"""
from apps.models.services import *
try:
    model_delete(name={name!r})
    print("gone")
except InvalidRequest:
    print("kept")
"""
    return manage(served, code) == "gone"


@pytest.mark.timeout(1200)
def test_model_is_added_changed_restarted_and_unloaded(
    served: Served, page: Page, checkpoint: Path, forget: list[str], shot: Shot
) -> None:
    forget.append("tiny")
    add_model(page, "tiny", checkpoint)
    open_model(page, "tiny")
    expect(page.locator("#model-state")).to_have_text("ready", timeout=LOAD_MS)
    assert answer(served, "tiny") == 200
    first = beats(served, "tiny")[0]

    page.get_by_text("Engine options").click()
    page.fill("#id_option_max_model_len", "8")
    page.click("button[name=_continue]")
    expect(page.get_by_text("max_model_len=8 is out of range")).to_be_visible()
    page.fill("#id_option_max_model_len", "64")
    page.click("button[name=_continue]")
    changed = wait_for(
        lambda: [b for b in beats(served, "tiny") if b.max_model_len == 64],
        within_s=240,
        what="an engine with the new option",
    )[0]
    assert changed.engine != first.engine
    expect(page.locator("#model-state")).to_have_text("ready", timeout=LOAD_MS)

    page.get_by_role("button", name="Restart").click()
    expect(page.get_by_text("tiny restarts")).to_be_visible()
    wait_for(
        lambda: {b.engine for b in beats(served, "tiny")} - {changed.engine},
        within_s=240,
        what="a new engine",
    )
    expect(page.locator("#model-state")).to_have_text("ready", timeout=LOAD_MS)
    page.get_by_text("Log of").first.click()
    expect(page.locator(".pg-log").first).not_to_contain_text("Loading the end")
    assert accessibility_problems(page) == []
    page.get_by_text("Log of").first.click()
    shot(page, "model")

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Drain and unload").click()
    expect(page.locator("#model-state")).to_have_text("unloaded", timeout=LOAD_MS)
    assert answer(served, "tiny") == 404
    expect(page.locator("#fit")).to_contain_text("fits")
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.locator("#model-state")).to_have_text("ready", timeout=LOAD_MS)
    assert answer(served, "tiny") == 200


@pytest.mark.timeout(1200)
def test_trouble_opens_itself_and_its_button_mends_it(
    served: Served, page: Page, checkpoint: Path, forget: list[str], shot: Shot
) -> None:
    forget.append("broken")
    (checkpoint / WEIGHTS).rename(checkpoint / "away")
    add_model(page, "broken", checkpoint)
    page.goto("/admin/")
    trouble = page.locator(".pg-trouble", has_text="broken").first
    expect(trouble).to_contain_text("holds no safetensors weights", timeout=LOAD_MS)
    expect(page.locator("#sentence")).to_have_text("1 thing needs you.")
    assert accessibility_problems(page) == []
    shot(page, "operate-trouble")
    (checkpoint / "away").rename(checkpoint / WEIGHTS)
    page.get_by_role("button", name="Try again now").click()
    wait_for(lambda: answer(served, "broken") == 200, within_s=240, what="an answer of the model")
    expect(page.locator("#sentence")).to_have_text("Everything is running.", timeout=PATIENCE_MS)


@pytest.mark.timeout(1200)
def test_idle_model_rests_and_the_next_request_wakes_it(
    served: Served, page: Page, checkpoint: Path, forget: list[str]
) -> None:
    forget.append("sleepy")
    add_model(page, "sleepy", checkpoint)
    open_model(page, "sleepy")
    expect(page.locator("#model-state")).to_have_text("ready", timeout=LOAD_MS)
    page.fill("#id_keep_alive_s", "2")
    page.click("button[name=_continue]")
    expect(page.locator("#model-state")).to_have_text("unloaded while idle", timeout=LOAD_MS)
    wait_for(lambda: not beats(served, "sleepy"), within_s=30, what="no engine")
    assert served.status("/health") == 200
    assert answer(served, "sleepy") == 200


def test_model_that_does_not_fit_is_refused_with_numbers(
    served: Served, page: Page, checkpoint: Path, forget: list[str]
) -> None:
    forget.append("huge")
    manage(
        served,
        "from apps.models.services import model_register; model_register(name='huge', "
        f"source={str(checkpoint)!r}, desired='unloaded', "
        "engine_options={'kv_cache_memory_bytes': 10**15})",
    )
    open_model(page, "huge")
    expect(page.locator("#fit")).to_contain_text("does not fit")
    expect(page.locator("#fit")).to_contain_text("MiB of free memory")
    expect(page.get_by_role("button", name="Load", exact=True)).to_be_disabled()
