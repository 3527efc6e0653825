"""Which pages of other origins may use the API."""

from __future__ import annotations

import pytest

from engine.settings import SettingError
from inference_site.config import ServerSettings
from inference_site.cors import CorsApp, CorsRules, names, with_cors

PAGE = "https://page.example"


async def plain(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})


async def ask(rules, *, origin=PAGE, method="POST", path="/v1/models", **more):
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"origin", origin.encode())] if origin else []
    headers += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    await CorsApp(plain, rules)(scope, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_an_allowed_page_may_read_the_answer():
    rules = CorsRules((PAGE,), ("*",), ("*",))
    status, headers, body = await ask(rules)
    assert (status, body) == (200, b"answer")
    assert headers[b"access-control-allow-origin"] == PAGE.encode()
    assert headers[b"vary"] == b"Origin"


@pytest.mark.parametrize("more", [{"origin": "https://other.example"}, {"origin": ""},
                                  {"path": "/admin/login/"}])  # fmt: skip
async def test_other_pages_and_the_admin_get_no_leave(more):
    _, headers, _ = await ask(CorsRules((PAGE,), ("*",), ("*",)), **more)
    assert headers == {}


async def test_a_preflight_is_answered_before_a_key_is_asked_for():
    rules = CorsRules(("*",), ("POST",), ("authorization",))
    asked = {"access_control_request_method": b"POST"}
    status, headers, body = await ask(rules, method="OPTIONS", **asked)
    assert (status, body) == (204, b"")
    assert headers[b"access-control-allow-origin"] == b"*"
    assert headers[b"access-control-allow-methods"] == b"POST"
    assert headers[b"access-control-allow-headers"] == b"authorization"


def test_lists_come_as_json_or_by_commas():
    assert names("X", '["a", "b"]') == names("X", "a, b,") == ("a", "b")
    assert names("X", "") == ()
    for text in ("[1]", '{"a": 1}', "[", '"a"'):
        with pytest.raises(SettingError, match="is no list"):
            names("X", text)


def test_without_origins_nothing_is_wrapped():
    assert with_cors(plain, ServerSettings()) is plain
