"""Usage, request log, playground and live engine: what the pages show is what the engine did."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from engine.messages import EngineBeat, unpack
from engine.redis_keys import engine_beat, view_asked
from tests.browser.conftest import NewPage, Shot, accessibility_problems, manage
from tests.served import Served, wait_for

MODEL = "pagoda-demo"
LONG = {"model": MODEL, "prompt": "Once upon a time " * 20, "max_tokens": 1800, "ignore_eos": True}
PAGES = ("usage", "requests", "live", "playground")


def api(served: Served) -> httpx.Client:
    return httpx.Client(
        base_url=served.url, timeout=120, trust_env=False,
        headers={"Authorization": f"Bearer {served.boot['api_key']}"},
    )  # fmt: skip


def ask(served: Served, text: str, **more: Any) -> str:
    """A chat completion; its request id."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 24}
    with api(served) as client:
        reply = client.post("/v1/chat/completions", json=body | more)
    assert reply.status_code == 200, reply.text
    return reply.headers["x-request-id"]


def stored(served: Served, rid: str) -> dict[str, Any]:
    """The usage row of a request, as soon as it is settled."""
    code = (
        "import json\nfrom apps.usage.models import UsageRecord\n"
        f"row = UsageRecord.objects.filter(rid={rid!r}).values(\n"
        "    'completion_tokens', 'owner_name', 'key_name', 'adapter', 'status').first()\n"
        "print(json.dumps(row))"
    )
    found = wait_for(lambda: json.loads(manage(served, code)), within_s=60, what=f"a row of {rid}")
    return dict(found)


def running(served: Served) -> int:
    """Sequences the engines compute now, from their heartbeats."""
    with served.redis() as client:
        keys = list(client.scan_iter(engine_beat("*")))
        beats = [unpack(EngineBeat, data) for data in (client.mget(keys) if keys else []) if data]
    return sum(beat.running + beat.waiting for beat in beats)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_in_both_themes_and_on_a_phone(
    name: str, served: Served, new_page: NewPage
) -> None:
    ask(served, "Hello!")
    for look in ({}, {"dark": True}, {"phone": True}):
        page = new_page(**look)
        page.goto(f"/admin/{name}/")
        if name == "live":
            expect(page.locator("#figures")).to_be_visible()
        page.wait_for_timeout(500)  # colours fade when the theme is set
        assert accessibility_problems(page) == [], look
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, f"{look} is {width} px wider than the screen"


def test_usage_adds_up_real_requests_and_leads_to_them(served: Served, page: Page) -> None:
    rids = [ask(served, f"Count to {n}.") for n in range(3)]
    rows = [stored(served, rid) for rid in rids]
    page.goto("/admin/usage/?range=24h")
    total = manage(
        served,
        "from django.db.models import Sum\nfrom django.utils import timezone\n"
        "from apps.usage import period\nfrom apps.usage.models import UsageRecord\n"
        "start = period.last('24h', timezone.now()).start\n"
        "rows = UsageRecord.objects.filter(ended_at__gte=start)\n"
        "print(rows.aggregate(n=Sum('completion_tokens'))['n'])",
    )
    shown = page.evaluate(
        "JSON.parse(document.getElementById('usage-data').textContent).tokens.Output"
        ".reduce((a, b) => a + b)"
    )
    assert shown == int(total) >= sum(row["completion_tokens"] for row in rows)
    link = page.locator("#by-key a").filter(has_text=re.compile(r"^[\d,]+$")).first
    count = int(link.inner_text().replace(",", ""))
    link.click()
    expect(page.locator("#rows tr[data-rid]")).to_have_count(min(count, 50))
    expect(page.locator(f'[data-rid="{rids[-1]}"]')).to_be_visible()


def test_log_shows_a_request_while_one_looks_and_where_its_time_went(
    served: Served, page: Page
) -> None:
    page.goto("/admin/requests/")
    expect(page.locator("#live-state")).to_have_text("on")
    rid = ask(served, "Who are you?")
    row = page.locator(f'[data-rid="{rid}"]')
    expect(row).to_be_visible()
    row.get_by_role("link").click()
    for part in ("Queue", "Prefill", "Decode"):
        expect(page.locator("#waterfall")).to_contain_text(part)
    expect(page.get_by_text(rid)).to_be_visible()


def test_export_is_a_download(served: Served, page: Page) -> None:
    rid = ask(served, "Hello!")
    stored(served, rid)
    page.goto("/admin/requests/")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export CSV").click()
    path = waiting.value.path()
    assert rid in path.read_text()


def test_playground_compares_base_and_adapter_and_is_metered(served: Served, page: Page) -> None:
    page.goto(f"/admin/playground/?compare={MODEL},pirate")
    page.fill(".pg-text", "Hello! Who are you?")
    page.check("#logprobs")
    with page.expect_response(lambda r: "/v1/chat" in r.url) as first:
        page.click("#run")
    rid = first.value.headers["x-request-id"]
    answers = page.locator(".pg-answer")
    expect(answers).to_have_count(2)
    for n in range(2):
        expect(answers.nth(n).locator(".pg-stats")).to_contain_text("finish: stop")
        expect(answers.nth(n).locator(".pg-stats")).to_contain_text("tokens/s")
    expect(answers.nth(0).locator("[class^=pg-prob-]").first).to_be_visible()
    texts = [answers.nth(n).locator(".pg-output").inner_text() for n in range(2)]
    assert texts[0] != texts[1]
    row = stored(served, rid)
    assert (row["owner_name"], row["key_name"]) == (served.boot["admin_user"], "playground")


def test_stop_in_the_playground_frees_the_engine(served: Served, page: Page) -> None:
    page.goto(f"/admin/playground/?model={MODEL}")
    page.fill(".pg-text", "Tell me a very long story about a pagoda.")
    page.fill("#p-max_tokens", "1500")
    body = "JSON.stringify({...JSON.parse(text), ignore_eos: true})"
    page.evaluate(f"""() => {{
        const send = window.fetch;
        window.fetch = (where, options) => {{
            const text = options.body;
            return send(where, where.startsWith('/v1/') ? {{...options, body: {body}}} : options);
        }};
    }}""")
    page.click("#run")
    # asked of the page first: its requests go on only while Playwright is asked something
    expect(page.locator(".pg-stats")).to_contain_text(re.compile(r"first token \d+ ms"))
    wait_for(lambda: running(served), within_s=30, what="a running request")
    page.click("#stop")
    expect(page.locator(".pg-stats")).to_contain_text("stopped by you")
    wait_for(lambda: not running(served), within_s=30, what="an idle engine")


def test_code_of_the_playground_holds_the_same_request(served: Served, page: Page) -> None:
    page.goto(f"/admin/playground/?model={MODEL}")
    page.fill(".pg-text", 'It\'s "quoted"')
    page.fill("#p-seed", "7")
    page.click("#view-code")
    curl = page.locator("#code").inner_text()
    sent = json.loads(curl.split("-d '", 1)[1].removesuffix("'").replace("'\\''", "'"))
    assert sent["messages"] == [{"role": "user", "content": 'It\'s "quoted"'}]
    assert (sent["model"], sent["seed"]) == (MODEL, 7)
    page.get_by_role("button", name="Python").click()
    compile(page.locator("#code").inner_text(), "shown.py", "exec")
    page.get_by_role("button", name="JavaScript").click()
    expect(page.locator("#code")).to_contain_text("new OpenAI")


def test_tools_and_schema_panels_shape_the_answer(served: Served, page: Page) -> None:
    page.goto(f"/admin/playground/?model={MODEL}")
    page.fill("#p-temperature", "0")
    page.get_by_text("Tools", exact=True).click()
    page.click("#sample-tools")
    page.fill(".pg-text", "What is the weather in Paris?")
    page.click("#run")
    expect(page.locator(".pg-stats")).to_contain_text("finish: tool_calls")
    expect(page.locator(".pg-output .pg-code")).to_contain_text("get_weather")
    page.fill("#tools", "")
    page.get_by_text("JSON schema of the answer").click()
    page.click("#sample-schema")
    page.fill(".pg-text", "Who lives in Pagoda?")
    with page.expect_response(lambda reply: "/v1/chat" in reply.url) as asked:
        page.click("#run")
    assert stored(served, asked.value.headers["x-request-id"])["status"] == "ok"
    expect(page.locator(".pg-stats")).to_contain_text("finish: stop")
    person = json.loads(page.locator(".pg-output").inner_text())
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_hidden_live_page_asks_the_engine_for_nothing(served: Served, page: Page) -> None:
    """The page's own switch is turned: a headless browser hides no tab."""
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    def asked() -> bool:
        with served.redis() as client:
            return any(client.scan_iter(view_asked("*")))

    page.goto("/admin/live/")
    expect(page.locator("#socket-state")).to_have_text("live, each second")
    wait_for(asked, within_s=30, what="a question for the engine's view")
    page.evaluate(hide, True)
    expect(page.locator("#socket-state")).to_have_text("paused")
    wait_for(lambda: not asked(), within_s=30, what="the end of the questions")
    for _ in range(30):  # three seconds: a page that is looked at asks each second
        assert not asked()
        page.wait_for_timeout(100)
    page.evaluate(hide, False)
    wait_for(asked, within_s=30, what="a question for the engine's view")


def test_live_page_shows_blocks_and_cancels_a_request(
    served: Served, page: Page, shot: Shot
) -> None:
    replies: list[httpx.Response] = []

    def run() -> None:
        with api(served) as client:
            replies.append(client.post("/v1/completions", json=LONG))

    page.goto("/admin/live/")
    expect(page.locator("#socket-state")).to_have_text("live, each second")
    asking = [threading.Thread(target=run) for _ in range(2)]
    for thread in asking:
        thread.start()
    rows = page.locator("#requests tr[data-rid]")
    expect(rows).to_have_count(2)
    expect(page.locator("#map")).to_have_attribute("data-used", re.compile(r"^[1-9]\d*$"))
    expect(page.locator("#map")).to_have_attribute("data-shared", re.compile(r"^[1-9]\d*$"))
    shot(page, "live", height=1250)
    for n in range(2):
        rows.nth(n).get_by_role("button").click()
    expect(rows).to_have_count(0)
    for thread in asking:
        thread.join(60)
    assert [reply.json()["error"]["param"] for reply in replies] == ["stopped", "stopped"]
    wait_for(lambda: not running(served), within_s=30, what="an idle engine")
    expect(page.locator("#events")).to_contain_text("aborted")


def test_drain_and_resume_from_the_live_page(served: Served, page: Page) -> None:
    page.goto("/admin/live/")
    page.get_by_role("button", name="Drain").click()
    expect(page.locator("#state")).to_have_text("draining")
    wait_for(lambda: served.status("/health") == 503, within_s=20, what="/health = 503")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#state")).to_have_text("ready")
    served.wait_healthy()
    ask(served, "Hello!")


def test_owner_of_keys_makes_one_that_works_and_ends_it(served: Served, new_page: NewPage) -> None:
    manage(
        served,
        "from django.contrib.auth.models import User\nfrom apps.api.models import Owner\n"
        "from apps.api.services import key_create\n"
        "user, _ = User.objects.get_or_create(username='alice')\n"
        "user.set_password('correct horse battery'); user.save()\n"
        "owner, made = Owner.objects.get_or_create(name='alice', user=user)\n"
        "made and key_create(owner=owner, name='first')",
    )
    page = new_page(staff=False)
    page.goto("/account/")
    page.fill("#id_username", "alice")
    page.fill("#id_password", "correct horse battery")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Usage")).to_be_visible()
    page.get_by_role("link", name="API keys").click()
    page.fill("#id_name", "my laptop")
    page.get_by_role("button", name="Create key").click()
    key = page.locator("#api-key").inner_text()
    body = {"model": MODEL, "prompt": "a", "max_tokens": 2}

    def status() -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(
            f"{served.url}/v1/completions", json=body, headers=headers, timeout=60
        ).status_code

    assert status() == 200
    page.get_by_role("link", name="I have saved it").click()
    assert accessibility_problems(page) == []
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke my laptop").click()
    expect(page.get_by_role("row", name=re.compile("my laptop"))).to_contain_text("ended")
    assert status() == 401


def test_screens_of_the_console(served: Served, new_page: NewPage, shot: Shot) -> None:
    """Pictures for the documents, over a month of made-up usage."""
    manage(
        served,
        "from django.utils import timezone\nfrom apps.usage.store import usage_insert\n"
        "from tests.integration.site.usage_rows import made_rows\n"
        "usage_insert(made_rows(timezone.now(), 3000, days=30, seed=9))",
    )
    for suffix, look in (("", {}), ("-dark", {"dark": True}), ("-phone", {"phone": True})):
        page = new_page(**look)
        page.goto("/admin/")
        expect(page.locator("#sentence")).to_have_text("Everything is running.")
        shot(page, f"operate{suffix}")
        page.goto("/admin/usage/?range=30d&group=key")
        expect(page.locator("#chart-groups")).to_be_visible()
        shot(page, f"usage{suffix}", height=1150)
        page.goto("/admin/requests/")
        expect(page.locator("#rows tr").first).to_be_visible()
        shot(page, f"requests{suffix}")
        page.goto(f"/admin/playground/?compare={MODEL},pirate")
        page.fill(".pg-text", "Hello! Who are you?")
        page.check("#logprobs")
        page.click("#run")
        expect(page.locator(".pg-stats").nth(1)).to_contain_text("finish:")
        expect(page.locator(".pg-stats").nth(0)).to_contain_text("finish:")
        shot(page, f"playground{suffix}")
