"""The frame around every page: readable by everybody, in light and dark, on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Shot, accessibility_problems
from tests.served import Served

PAGES = {
    "operate": "/admin/",
    "models": "/admin/catalog/servedmodel/",
    "model-add": "/admin/catalog/servedmodel/add/",
    "model": "/admin/catalog/servedmodel/1/change/",
    "engines": "/admin/catalog/engineinstance/",
    "hosts": "/admin/catalog/host/",
    "keys": "/admin/api/apikey/",
    "key-add": "/admin/api/apikey/add/",
    "owners": "/admin/api/owner/",
    "audit": "/admin/api/auditevent/",
    "logins": "/admin/auth/user/",
    "login-change": "/admin/auth/user/1/change/",
}


@pytest.mark.parametrize("name", PAGES)
def test_page_can_be_used_by_everybody(name: str, new_page: NewPage, shot: Shot) -> None:
    """No serious problem for axe-core in light, dark and on a phone; nothing sticks out there."""
    for look in ({}, {"dark": True}, {"phone": True}):
        page = new_page(**look)
        page.goto(PAGES[name])
        assert accessibility_problems(page) == []
        wider = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(wider) <= 0
        if name in ("models", "keys"):
            shot(page, "-".join([name, *look]))


def test_home_refreshes_itself_and_shows_made_requests(served: Served, page: Page) -> None:
    page.goto("/admin/")
    card = page.locator(".pg-kpi", has_text="Requests").locator(".pg-value")
    before = int(card.inner_text())
    for _ in range(3):
        served.post("/v1/completions", {"model": "pagoda-demo", "prompt": "a", "max_tokens": 1})
    expect(card).to_have_text(str(before + 3))


def test_keyboard_opens_the_search_and_finds_a_model(page: Page) -> None:
    page.goto("/admin/")
    page.keyboard.press("Control+k")
    page.locator("#search-input-command").press_sequentially("pagoda-demo")
    expect(page.locator("#command-results")).to_contain_text("pagoda-demo")


def test_session_that_ended_leads_to_the_login(page: Page) -> None:
    page.goto("/admin/")
    page.context.clear_cookies()
    expect(page.locator("#id_username")).to_be_visible()
