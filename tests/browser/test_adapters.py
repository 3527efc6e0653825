"""Adapters in a real browser: upload, watch the check, chat, roll back, unload."""

from __future__ import annotations

import re
import urllib.error
from base64 import b64encode
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.messages import EngineBeat, unpack
from engine.redis_keys import engine_beat
from inference_site.paths import DEMO_ADAPTERS
from tests.browser.conftest import PATIENCE_MS, NewPage, Shot, accessibility_problems
from tests.integration.lora import files
from tests.served import Served, wait_for

DROP = """files => {
  const dropped = new DataTransfer();
  for (const [name, data] of files) {
    dropped.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name));
  }
  const event = new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true});
  document.getElementById("drop").dispatchEvent(event);
}"""
TALK = {"messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 24}


def said(served: Served, model: str) -> str:
    reply = served.post("/v1/chat/completions", {"model": model, "temperature": 0, **TALK})
    text: str = reply["choices"][0]["message"]["content"]
    return text


def hits(page: Page) -> int:
    """Requests for the first version, as its page says."""
    found = re.search(r"(\d+) hit", page.locator("#version-1").inner_text())
    assert found is not None
    return int(found[1])


def pins(served: Served, name: str) -> list[bool]:
    """Whether each engine keeps the adapter in memory, from the heartbeats."""
    with served.redis() as client:
        keys = list(client.scan_iter(engine_beat("*")))
        beats = [unpack(EngineBeat, data) for data in (client.mget(keys) if keys else []) if data]
    return [a.pinned for beat in beats for a in beat.adapters if a.name == name]


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
    before = hits(page)  # of these weights: other names of theirs were asked for as well
    assert "arr" in said(served, "corsair").lower()
    wait_for(lambda: hits(page) > before, within_s=30, what="one more hit")
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


def test_dropped_files_are_sent_and_the_pin_reaches_the_engine(page: Page, served: Served) -> None:
    page.goto("/admin/lora/adapter/add/")
    page.fill("[name=name]", "dropped")
    page.check("[name=pinned]")
    given = [
        [file.name, b64encode(file.read_bytes()).decode()]
        for file in sorted((DEMO_ADAPTERS / "pirate").iterdir())
    ]
    page.evaluate(DROP, given)
    expect(page.locator("#chosen li")).to_have_count(2)
    page.click("#add")
    page.wait_for_url("**/change/")
    expect(page.locator("#adapter-state")).to_have_text("ready", timeout=3 * PATIENCE_MS)
    assert "arr" in said(served, "dropped").lower()
    assert pins(served, "dropped") == [True]
    page.get_by_role("button", name="Unpin").click()
    wait_for(lambda: pins(served, "dropped") == [False], within_s=30, what="an unpinned adapter")
    page.get_by_role("button", name="Pin", exact=True).click()
    wait_for(lambda: pins(served, "dropped") == [True], within_s=30, what="a pinned adapter")


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
