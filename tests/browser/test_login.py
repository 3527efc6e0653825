"""The way into the admin."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import NewPage
from tests.served import Served


def test_login_from_the_bootstrap_file_opens_the_home_page(
    served: Served, new_page: NewPage
) -> None:
    page = new_page(staff=False)
    page.goto("/admin/")
    page.fill("#id_username", served.boot["admin_user"])
    page.fill("#id_password", served.boot["admin_password"])
    page.click("button[type=submit]")
    expect(page.locator("#sentence")).to_have_text("Everything is running.")


def test_wrong_password_is_refused_in_words(served: Served, new_page: NewPage) -> None:
    page = new_page(staff=False)
    page.goto("/admin/")
    page.fill("#id_username", served.boot["admin_user"])
    page.fill("#id_password", "not it")
    page.click("button[type=submit]")
    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
