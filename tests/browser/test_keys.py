"""A key's life in the admin: made, used, rotated, revoked, checked at /v1."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Shot, accessibility_problems, manage
from tests.served import Served


def status(served: Served, key: str) -> int:
    reply = httpx.post(
        f"{served.url}/v1/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": "pagoda-demo", "prompt": "Once", "max_tokens": 2},
        timeout=60,
    )
    return reply.status_code


def make_key(page: Page, preset: str, name: str) -> str:
    """Through the form; the key's text."""
    page.goto("/admin/api/apikey/add/")
    page.get_by_role("button", name=preset, exact=True).click()
    page.select_option("#id_owner", label="bootstrap")
    page.fill("#id_name", name)
    page.click("button[name=_save]")
    return shown(page)


def shown(page: Page) -> str:
    """The text on the page that shows a new key."""
    expect(page.locator("#api-key")).to_have_text(re.compile("^pgd_"))
    return str(page.locator("#api-key").text_content())


def open_key(page: Page, name: str) -> None:
    page.goto("/admin/api/apikey/")
    page.get_by_role("link", name=name, exact=True).click()


def test_key_is_made_from_a_preset_shown_once_and_used(
    served: Served, page: Page, shot: Shot
) -> None:
    text = make_key(page, "CI", "laptop")
    assert re.fullmatch(r"pgd_\w{8}_\w+", text)
    assert accessibility_problems(page) == []
    shot(page, "key-shown-once")
    page.get_by_role("button", name="Copy the key").click()
    assert page.evaluate("navigator.clipboard.readText()") == text
    assert status(served, text) == 200
    open_key(page, "laptop")
    expect(page.locator("#key-state")).to_have_text("usable")
    expect(page.locator(".pg-use")).to_contain_text("/ 120")
    spent = page.locator(".pg-use .pg-number").last  # of the token budget
    expect(spent).to_have_text(re.compile(r"[1-9]\d* / 1,000,000"))
    assert text not in page.content()
    shot(page, "key")


def test_rotated_key_works_for_its_grace_beside_its_successor(served: Served, page: Page) -> None:
    old = make_key(page, "App", "to-rotate")
    open_key(page, "to-rotate")
    page.get_by_role("link", name="Rotate", exact=True).click()
    page.select_option("#id_grace_hours", label="in 1 hour")
    page.get_by_role("button", name="Rotate").click()
    new = shown(page)
    assert new != old
    assert (status(served, old), status(served, new)) == (200, 200)


def test_revoked_key_is_refused_and_the_page_says_after_what_time(
    served: Served, page: Page
) -> None:
    text = make_key(page, "CI", "to-revoke")
    assert status(served, text) == 200
    open_key(page, "to-revoke")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke now").click()
    expect(page.get_by_text(re.compile(r"refused by .* after \d+ ms"))).to_be_visible()
    assert status(served, text) == 401
    expect(page.locator("#key-state")).to_have_text("revoked")


def test_wrong_field_is_explained_beside_it(page: Page) -> None:
    page.goto("/admin/api/apikey/add/")
    page.select_option("#id_owner", label="bootstrap")
    page.fill("#id_name", "bad")
    page.fill("#id_rpm", "0")
    page.click("button[name=_save]")
    expect(page.get_by_text("Ensure this value is greater than or equal to 1.")).to_be_visible()


def test_switching_a_login_off_ends_its_keys_at_once(served: Served, page: Page) -> None:
    made = """
from django.contrib.auth.models import User
from apps.api.models import Owner
from apps.api.services import key_create
user = User.objects.create_user("leaver")
print(key_create(owner=Owner.objects.create(name="leaver", user=user), name="hers")[1])
"""
    text = manage(served, made)
    assert status(served, text) == 200
    page.goto("/admin/auth/user/")
    page.get_by_role("link", name="leaver", exact=True).click()
    page.uncheck("#id_is_active")
    page.click("button[name=_save]")
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    assert status(served, text) == 401


@pytest.mark.parametrize("bad", ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>'])
def test_names_are_text_wherever_they_are_shown(
    served: Served, new_page: NewPage, bad: str
) -> None:
    code = f"""
from apps.api.services import key_create, owner_get_or_create
owner = owner_get_or_create(name={bad!r})
print(key_create(owner=owner, name={bad!r})[0].pk)
"""
    pk = manage(served, code)
    page = new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    paths = ["/admin/", "/admin/api/apikey/", "/admin/api/owner/", "/admin/api/auditevent/"]
    for path in [*paths, f"/admin/api/apikey/{pk}/change/", f"/admin/api/apikey/{pk}/rotate/"]:
        page.goto(path)
    assert dialogs == []
