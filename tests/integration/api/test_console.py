"""The admin's socket, live engine and playground on a running installation."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.served import LIMIT_S
from tests.stack import Stack

PREPARE = """
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from apps.api.roles import Role
from apps.models.models import EngineInstance, Host, ServedModel, State

host = Host.objects.get_or_create(name="here")[0]
model = ServedModel.objects.get(name="tiny")
EngineInstance.objects.get_or_create(
    model=model, replica=0, host=host, engine_id="engine", state=State.READY
)
made = {}
for name, role in (("boss", Role.OWNER), ("eve", Role.VIEWER), ("kim", Role.KEYS)):
    user = User.objects.create_user(
        name, is_staff=role != Role.KEYS, is_superuser=role == Role.OWNER
    )
    if role == Role.VIEWER:
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "apps.api.roles.RoleBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    made[name] = session.session_key
print(json.dumps(made))
"""
LONG = {"model": "tiny", "prompt": "a" * 40, "max_tokens": 1900, "ignore_eos": True}


@pytest.fixture(scope="module")
def sessions(stack: Stack) -> dict[str, str]:
    """Session cookies: an owner, a viewer, and somebody with keys only."""
    made: dict[str, str] = json.loads(stack.manage(PREPARE).splitlines()[-1])
    return made


@pytest.fixture
def boss(stack: Stack, sessions: dict[str, str]) -> httpx.Client:
    return browser(stack, sessions["boss"])


def browser(stack: Stack, session: str) -> httpx.Client:
    """A client with the session's cookie and the token that forms carry."""
    token = "a" * 32
    cookies = {"sessionid": session, "csrftoken": token}
    return httpx.Client(
        base_url=stack.base, cookies=cookies, headers={"X-CSRFToken": token}, timeout=30,
        trust_env=False,
    )  # fmt: skip


def opened(stack: Stack, session: str, origin: str = "") -> ClientConnection:
    headers = {"Cookie": f"sessionid={session}"}
    return connect(
        stack.base.replace("http", "ws") + "/admin/socket/",
        additional_headers=headers, proxy=None, origin=origin or stack.base,
    )  # fmt: skip


def frame(socket: ClientConnection, wanted: Any, seconds: float = LIMIT_S) -> dict[str, Any]:
    """The first frame for which `wanted` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found: dict[str, Any] = json.loads(socket.recv(timeout=seconds))
        if wanted(found):
            return found
    raise AssertionError("no such frame came")


def close_code(stack: Stack, session: str, *said: str, origin: str = "") -> int:
    """What the server ends a socket with that says this."""
    with opened(stack, session, origin) as socket:
        for text in said:
            socket.send(text)
        with contextlib.suppress(ConnectionClosed):
            socket.recv(timeout=LIMIT_S)
        assert socket.close_code is not None
        return socket.close_code


def test_engine_feed_shows_a_request_and_cancel_ends_it(
    stack: Stack, sessions: dict[str, str], boss: httpx.Client
) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        with stack.http() as client:
            answers.append(client.post("/v1/completions", json=LONG))

    asking = threading.Thread(target=ask)
    with opened(stack, sessions["boss"]) as socket:
        socket.send(json.dumps({"feed": "engine", "engine": "engine"}))
        frame(socket, lambda found: found["beat"] is not None)
        asking.start()
        seen = frame(socket, lambda found: any(r["running"] for r in found["requests"]))
        (request,) = seen["requests"]
        assert (request["key"], request["owner"]) == ("full", "tests")
        owners = base64.b64decode(seen["map"]["owners"])
        assert len(owners) == 2 * seen["map"]["num_blocks"]
        assert request["blocks"] > 0
        reply = boss.post("/admin/live/cancel/", data={"rid": request["rid"]})
        assert reply.status_code == 200, reply.text
        asking.join(LIMIT_S)
        assert answers[0].json()["error"]["param"] == "stopped"
        frame(socket, lambda found: not found["requests"])
    again = boss.post("/admin/live/cancel/", data={"rid": request["rid"]})
    assert (again.status_code, "has ended already" in again.json()["message"]) == (400, True)
    assert "request.cancel" in stack.manage(
        "from apps.api.models import AuditEvent\n"
        "print(AuditEvent.objects.values_list('action', flat=True)[:9])"
    )


def test_drained_engine_takes_nothing_until_it_is_resumed(
    stack: Stack, sessions: dict[str, str], boss: httpx.Client
) -> None:
    with opened(stack, sessions["eve"]) as socket:
        socket.send(json.dumps({"feed": "engine"}))
        frame(socket, lambda found: found["beat"]["state"] == "ready")
        assert boss.post("/admin/live/drain/", data={"engine": "engine"}).status_code == 200
        drained = frame(socket, lambda found: found["beat"]["state"] == "draining")
        assert "ready → draining." in [event["text"] for event in drained["events"]]
        assert boss.post("/admin/live/resume/", data={"engine": "engine"}).status_code == 200
        frame(socket, lambda found: found["beat"]["state"] == "ready")
    stack.wait_ready()
    assert boss.post("/admin/live/drain/", data={"engine": "none"}).status_code == 400


def test_three_watchers_cost_the_engine_no_more_than_one(
    stack: Stack, sessions: dict[str, str]
) -> None:
    import redis

    with contextlib.ExitStack() as both, redis.Redis.from_url(stack.redis_url) as client:
        sockets = [both.enter_context(opened(stack, sessions["boss"])) for _ in range(3)]
        before = int(client.info("commandstats").get("cmdstat_xadd", {}).get("calls", 0))
        for socket in sockets:
            socket.send(json.dumps({"feed": "engine", "engine": "engine"}))
        began = time.monotonic()
        for socket in sockets:
            frame(socket, lambda found: found["map"])
        asked = int(client.info("commandstats")["cmdstat_xadd"]["calls"]) - before
        assert asked <= (time.monotonic() - began) / 0.9 + 1


@pytest.mark.parametrize("who", ["kim", "nobody"])
def test_socket_is_for_staff(who: str, stack: Stack, sessions: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as caught:
        close_code(stack, sessions.get(who, "none"))
    assert caught.value.response.status_code == 403


def test_socket_is_for_our_own_pages(stack: Stack, sessions: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as caught:
        close_code(stack, sessions["boss"], origin="https://evil.example")
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("text", ["", "[]", '{"feed": "secrets"}', "{", '{"feed": ["engine"]}'])
def test_unknown_wish_ends_the_socket(text: str, stack: Stack, sessions: dict[str, str]) -> None:
    assert close_code(stack, sessions["boss"], text) == 4403


def test_log_tail_brings_new_rows_that_match(stack: Stack, sessions: dict[str, str]) -> None:
    store = """
from django.utils import timezone
from tests.integration.site.usage_rows import made_rows
from apps.usage.store import usage_insert
usage_insert(made_rows(timezone.now(), 12, seed=int(sys.argv[1])))
"""
    with opened(stack, sessions["eve"]) as socket:
        socket.send(json.dumps({"feed": "requests", "query": "owner=bob&status=ok"}))
        rows: list[str] = []
        for seed in range(70, 79):  # the feed may note where it begins after the first of them
            stack.manage(store, str(seed))
            with contextlib.suppress(TimeoutError):
                rows = json.loads(socket.recv(timeout=3))["rows"]
            if rows:
                break
    assert rows
    assert all('data-rid="req-7' in row for row in rows)
    assert not any(">ci<" in row for row in rows)


def test_playground_key_infers_is_in_no_list_and_ends_soon(
    stack: Stack, boss: httpx.Client
) -> None:
    assert "playground-data" in boss.get("/admin/playground/?compare=tiny,tiny").text
    reply = boss.post("/admin/playground/key/")
    assert "no-store" in reply.headers["cache-control"]
    made = reply.json()
    assert 0 < made["expires_at"] - time.time() <= 15 * 60
    with stack.http(headers={"Authorization": f"Bearer {made['key']}"}) as client:
        body = {"model": "tiny", "prompt": "a", "max_tokens": 2}
        assert client.post("/v1/completions", json=body).status_code == 200
        assert client.get("/api/keys").status_code == 403
    public_id = made["key"].split("_")[1]
    assert public_id not in boss.get("/admin/api/apikey/").text
    with stack.http() as client:
        assert public_id not in client.get("/api/keys").text


@pytest.mark.parametrize(
    "path", ["/admin/playground/key/", "/admin/live/cancel/", "/admin/live/drain/"]
)
def test_viewer_may_not_act(path: str, stack: Stack, sessions: dict[str, str]) -> None:
    with browser(stack, sessions["eve"]) as eve:
        assert eve.post(path).status_code == 403
        assert eve.get("/admin/live/").status_code == 200
        assert eve.get("/admin/playground/").status_code == 403


def test_buttons_need_the_token_of_a_form(stack: Stack, sessions: dict[str, str]) -> None:
    with browser(stack, sessions["boss"]) as client:
        client.headers.pop("X-CSRFToken")
        assert client.post("/admin/playground/key/").status_code == 403
