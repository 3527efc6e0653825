"""A real `serve` on the demo model and Debian's Chromium for all tests of this folder.

Every page is watched: an error in the console, a broken script or a request that leaves the
machine fails the test that opened it. Screenshots are written to docs/screens/ with `--screens`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.served import Served, serving

HERE = Path(__file__).parent
SCREENS = HERE.parents[1] / "docs" / "screens"
PATIENCE_MS = 40_000
WIDE, PHONE = {"width": 1360, "height": 850}, {"width": 360, "height": 740}
expect.set_options(timeout=PATIENCE_MS)
SERIOUS = ("serious", "critical")
AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ['violations']});
  return found.violations.map(v => ({
    id: v.id, impact: v.impact, help: v.help,
    nodes: v.nodes.slice(0, 5).map(n => n.html.slice(0, 200) + ' | ' + n.failureSummary),
  }));
}"""

NewPage = Callable[..., Page]
Shot = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screens", action="store_true", help="write screenshots to docs/screens/")


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The whole service with the bundled model, as a newcomer starts it."""
    folder = Path(tempfile.mkdtemp(prefix="pgd-browser-"))
    try:
        with serving(folder / "home", within_s=120) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("Chromium is missing. Run: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def login(served: Served, chromium: Browser) -> str:
    """A file with the session of the first login: one login for all tests, as axes counts them."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{served.url}/admin/", timeout=PATIENCE_MS)
    page.fill("#id_username", served.boot["admin_user"])
    page.fill("#id_password", served.boot["admin_password"])
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/", timeout=PATIENCE_MS)
    path = served.home.parent / "session.json"
    context.storage_state(path=path)
    context.close()
    return str(path)


@pytest.fixture
def new_page(served: Served, chromium: Browser, login: str) -> Iterator[NewPage]:
    """Makes watched pages: `new_page(dark=True)`, `new_page(phone=True)`, `new_page(staff=False)`.

    Addresses may be given as paths. After the test no page may have had a problem."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []
    here = urlsplit(served.url).netloc

    def stay_here(route: Route) -> None:
        if urlsplit(route.request.url).netloc == here:
            route.continue_()
        else:
            problems.append(f"asked the network for {route.request.url}")
            route.abort()

    def make(*, dark: bool = False, phone: bool = False, staff: bool = True) -> Page:
        context = chromium.new_context(
            base_url=served.url,
            viewport=PHONE if phone else WIDE,
            color_scheme="dark" if dark else "light",
            storage_state=login if staff else None,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.route("**/*", stay_here)
        if dark:
            context.add_init_script("localStorage.setItem('adminTheme', JSON.stringify('dark'))")
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"script failed: {error}"))
        page.on(
            "console",
            lambda said: (
                said.type == "error" and problems.append(f"console: {said.text} at {said.location}")
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert not problems, "\n".join(problems)


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A wide, light page of the first login."""
    return new_page()


@pytest.fixture(scope="session")
def shot(request: pytest.FixtureRequest) -> Shot:
    """`shot(page, "keys")` writes docs/screens/keys.png when the run was asked for screenshots.

    From the top of the page; `height` in pixels where more of it belongs on the picture."""
    wanted = request.config.getoption("--screens")

    def take(page: Page, name: str, height: int = 0) -> None:
        if not wanted:
            return
        before = page.viewport_size
        assert before is not None
        page.set_viewport_size({"width": before["width"], "height": height or before["height"]})
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(600)  # charts and drawers move into place
        page.screenshot(path=SCREENS / f"{name}.png", animations="disabled")
        page.set_viewport_size(before)

    return take


def accessibility_problems(page: Page) -> list[str]:
    """What axe-core finds serious on the page as it is now."""
    page.evaluate((HERE / "vendor" / "axe.min.js").read_text(encoding="utf-8") + "; null")
    found = page.evaluate(AXE)
    return [json.dumps(entry, indent=1) for entry in found if entry["impact"] in SERIOUS]


def manage(served: Served, code: str) -> str:
    """Run Python with Django on the database of `served`; what it prints."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PAGODA_")}
    env |= {"PAGODA_HOME": str(served.home), "DJANGO_SETTINGS_MODULE": "inference_site.settings"}
    done = subprocess.run(
        [sys.executable, "-c", f"import django\ndjango.setup()\n{code}"],
        env=env, cwd=HERE.parents[1], check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()
