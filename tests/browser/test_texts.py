"""Presets of the playground, and the texts of a key that keeps them."""

from __future__ import annotations

import json

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Shot, accessibility_problems, manage
from tests.served import Served, wait_for

MODEL = "pagoda-demo"


def test_preset_brings_the_whole_page_back_and_can_be_shared(
    served: Served, page: Page, new_page: NewPage
) -> None:
    page.goto(f"/admin/playground/?compare={MODEL},pirate")
    page.fill("#system", "Be brief.")
    page.fill(".pg-text", "Hello, <b>you</b>!")
    page.fill("#p-temperature", "0")
    page.fill("#p-max_tokens", "12")
    page.click("#preset-save")
    page.fill("#preset-name", "greeting")
    assert accessibility_problems(page) == []
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/playground/?preset=*")
    expect(page.locator("#preset option:checked")).to_have_text("greeting")
    other = new_page()
    other.goto(page.url)
    for seen in (page, other):
        expect(seen.locator("#system")).to_have_value("Be brief.")
        expect(seen.locator(".pg-text")).to_have_value("Hello, <b>you</b>!")
        expect(seen.locator("#p-temperature")).to_have_value("0")
        expect(seen.locator(".pg-model").nth(1)).to_have_value("pirate")
    page.bring_to_front()  # only a page in front may write to the clipboard
    page.click("#preset-share")
    expect(page.locator("#preset-share")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    with other.expect_response(lambda reply: "/v1/chat" in reply.url) as asked:
        other.click("#run")
    sent = json.loads(asked.value.request.post_data or "")
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (sent["temperature"], sent["max_tokens"]) == (0, 12)
    expect(other.locator(".pg-stats").nth(1)).to_contain_text("finish:")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#preset option:checked")).to_have_text("None saved yet")


def test_texts_of_one_key_are_shown_after_its_owner_agreed(
    served: Served, page: Page, shot: Shot
) -> None:
    page.goto("/admin/api/apikey/add/")
    page.get_by_role("button", name="App").click()
    page.select_option("#id_owner", label="bootstrap")
    page.fill("#id_name", "keeps-texts")
    page.fill("#id_keep_bodies_days", "7")
    page.click("button[name=_save]")
    expect(page.get_by_text("texts are kept only with a yes")).to_be_visible()
    page.check("#id_consent")
    page.click("button[name=_save]")
    key = page.locator("#api-key").inner_text()
    reply = httpx.post(
        f"{served.url}/v1/chat/completions", timeout=120, trust_env=False,
        headers={"Authorization": f"Bearer {key}"},
        json={"model": MODEL, "messages": [{"role": "user", "content": "Who are <you>?"}],
              "max_tokens": 16, "stream": True},
    )  # fmt: skip
    rid = reply.headers["x-request-id"]
    code = f"from apps.usage.models import *\nprint(StoredBody.objects.filter(rid={rid!r}).count())"
    wait_for(lambda: manage(served, code) == "1", within_s=60, what="the texts")
    settled = code.replace("StoredBody", "UsageRecord")
    wait_for(lambda: manage(served, settled) == "1", within_s=60, what="the row")
    page.goto(f"/admin/requests/{rid}/")
    expect(page.locator("#body-request")).to_contain_text("Who are <you>?")
    said = "".join(
        choice["delta"].get("content") or ""
        for line in reply.text.split("\n")
        if line.startswith("data: {")
        for choice in json.loads(line[6:])["choices"]
    )
    assert said
    assert page.locator("#body-said").inner_text() == said
    assert accessibility_problems(page) == []
    shot(page, "request")
    page.get_by_role("link", name="Open in the playground").click()
    expect(page.locator(".pg-text")).to_have_value("Who are <you>?")
    expect(page.locator("#p-max_tokens")).to_have_value("16")
