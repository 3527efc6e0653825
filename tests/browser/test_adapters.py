"""Adapters in a real browser: upload, watch the check, chat, roll back, unload."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from inference_site.paths import DEMO_ADAPTERS
from tests.browser.conftest import PATIENCE_MS, NewPage, Shot, accessibility_problems
from tests.integration.lora import files
from tests.served import Served, wait_for

TALK = {"messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 24}


def said(served: Served, model: str) -> str:
    reply = served.post("/v1/chat/completions", {"model": model, "temperature": 0, **TALK})
    text: str = reply["choices"][0]["message"]["content"]
    return text


def upload(page: Page, name: str, folder: Path) -> None:
    page.goto("/admin/lora/adapter/add/")
    page.fill("[name=name]", name)
    page.set_input_files("#files", sorted(folder.iterdir()))
    expect(page.locator("#chosen li")).to_have_count(2)
    page.click("#add")
    page.wait_for_url("**/change/")


def test_adapter_is_uploaded_checked_loaded_asked_and_unloaded(
    page: Page, served: Served, shot: Shot
) -> None:
    upload(page, "corsair", DEMO_ADAPTERS / "pirate")
    expect(page.locator("#adapter-state")).to_have_text("ready", timeout=3 * PATIENCE_MS)
    expect(page.locator("#version-1")).to_contain_text("SHA-256")
    assert "arr" in said(served, "corsair").lower()
    expect(page.locator("#version-1")).to_contain_text("1 hit")
    expect(page.locator("text=Compare with base")).to_be_visible()
    shot(page, "adapter")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("text=Drain and unload")
    expect(page.locator("#adapter-state")).to_have_text("unloaded", timeout=PATIENCE_MS)
    with pytest.raises(urllib.error.HTTPError) as gone:
        said(served, "corsair")
    assert gone.value.code == 404
    page.click("text=Delete")
    page.wait_for_url("**/lora/adapter/")
    assert "corsair" not in [a["id"] for a in served.get("/api/adapters")["data"]]


def test_broken_upload_shows_every_problem_and_changes_nothing(
    page: Page, served: Served, tmp_path: Path, shot: Shot
) -> None:
    before = said(served, "pagoda-demo")
    upload(page, "broken", files.adapter(tmp_path / "bad", r=0, bias="all", use_dora=True))
    expect(page.locator("#adapter-state")).to_have_text("failed", timeout=PATIENCE_MS)
    problems = page.locator(".pg-problems li")
    expect(problems).to_have_count(3)
    shot(page, "adapter-refused")
    assert accessibility_problems(page) == []
    assert said(served, "pagoda-demo") == before


def test_files_that_are_no_adapter_are_refused_before_they_are_sent(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "adapter.zip").write_bytes(b"PK")
    page.goto("/admin/lora/adapter/add/")
    page.fill("[name=name]", "zip")
    page.set_input_files("#files", tmp_path / "adapter.zip")
    expect(page.locator("#problem")).to_contain_text("adapter.zip is not taken")
    page.click("#add")
    expect(page.locator("#problem")).to_contain_text("Still missing")


def test_new_version_is_rolled_back_with_one_button(
    page: Page, served: Served, tmp_path: Path
) -> None:
    for folder in (DEMO_ADAPTERS / "terse", DEMO_ADAPTERS / "pirate"):
        upload(page, "shifty", folder)
        wait_for(
            lambda: served.get("/api/adapters/shifty")["state"] == "ready",
            within_s=60,
            what="the version",
        )
    expect(page.locator("#version-2")).to_contain_text("in use", timeout=PATIENCE_MS)
    assert "arr" in said(served, "shifty").lower()
    page.click("text=Use this version")
    expect(page.locator("#version-1")).to_contain_text("in use", timeout=PATIENCE_MS)
    assert said(served, "shifty") == said(served, "terse")


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_list_and_form_are_accessible(
    look: str, new_page: NewPage, served: Served, shot: Shot
) -> None:
    wait_for(
        lambda: served.get("/api/adapters/pirate")["state"] == "ready",
        within_s=60,
        what="the bundled adapters",
    )
    page = new_page(dark=look == "dark", phone=look == "phone")
    page.goto("/admin/lora/adapter/")
    expect(page.locator("text=pirate").first).to_be_visible()
    assert accessibility_problems(page) == []
    if look == "light":
        shot(page, "adapters")
    page.goto("/admin/lora/adapter/add/")
    assert accessibility_problems(page) == []
    if look == "light":
        shot(page, "adapter-add")
