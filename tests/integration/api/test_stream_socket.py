"""WebSocket /v1/stream over a real socket."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.integration.api.test_generation import open_requests, until
from tests.served import LIMIT_S
from tests.stack import Stack

CHAT: dict[str, Any] = {
    "type": "chat", "model": "tiny", "messages": [{"role": "user", "content": "hi"}],
}  # fmt: skip
TEXT: dict[str, Any] = {"type": "completions", "model": "tiny", "prompt": "a"}
LONG = TEXT | {"max_tokens": 2000}


def opened(stack: Stack, path: str = "/v1/stream", key: str = "full", **given: Any) -> Any:
    headers = {"Authorization": f"Bearer {stack.keys.get(key, key)}"} if key else {}
    headers |= given.pop("headers", {})
    return connect(
        stack.base.replace("http", "ws") + path, additional_headers=headers, proxy=None, **given
    )


def say(socket: ClientConnection, fields: Any, name: str = "a") -> None:
    socket.send(json.dumps({"id": name} | fields))


def frames(socket: ClientConnection, ends: int = 1) -> list[dict[str, Any]]:
    """Frames until that many requests have ended."""
    found: list[dict[str, Any]] = []
    while ends:
        found.append(json.loads(socket.recv(timeout=LIMIT_S)))
        ends -= found[-1]["type"] in ("done", "error", "cancelled")
    return found


def test_chunks_are_those_of_http(stack: Stack, client: httpx.Client) -> None:
    body = {"model": "tiny", "messages": CHAT["messages"], "max_tokens": 6}
    with opened(stack) as socket:
        say(socket, CHAT | {"max_tokens": 6, "stream_options": {"include_usage": True}})
        found = frames(socket)
    whole = client.post("/v1/chat/completions", json=body).json()
    chunks = [frame["data"] for frame in found if frame["type"] == "chunk"]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1])
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert found[-1] == {"id": "a", "type": "done"}


def test_an_answer_may_come_whole(stack: Stack) -> None:
    with opened(stack) as socket:
        say(socket, TEXT | {"max_tokens": 3, "stream": False})
        response, done = frames(socket)
    assert response["type"] == "response"
    assert response["data"]["usage"]["completion_tokens"] == 3
    assert done["type"] == "done"


def test_many_requests_share_a_socket(stack: Stack) -> None:
    with opened(stack) as socket:
        for number in range(20):
            say(socket, TEXT | {"max_tokens": number + 1}, str(number))
        found = frames(socket, ends=20)
        for number in range(20):
            mine = [f for f in found if f["id"] == str(number)]
            assert mine[-1]["type"] == "done"
            assert sum(f["type"] == "chunk" for f in mine) >= 1
        say(socket, TEXT, "0")  # an id is free again
        assert frames(socket)[-1]["type"] == "done"


def test_cancel_ends_one_request_and_frees_the_engine(stack: Stack) -> None:
    with opened(stack) as socket:
        say(socket, LONG, "long")
        assert json.loads(socket.recv(timeout=LIMIT_S))["type"] == "chunk"
        say(socket, {"type": "cancel"}, "nobody")
        say(socket, {"type": "cancel"}, "long")
        assert frames(socket)[-1] == {"id": "long", "type": "cancelled"}
        until(lambda: open_requests(stack) == 0)
        say(socket, TEXT, "next")
        assert frames(socket)[-1]["type"] == "done"


def test_a_closed_socket_aborts_all_its_requests(stack: Stack) -> None:
    with opened(stack) as socket:
        for name in "ab":
            say(socket, LONG, name)
        until(lambda: open_requests(stack) == 2)
    until(lambda: open_requests(stack) == 0)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("{", None),
        ("[]", None),
        ('{"id":"a","type":"chat","x":NaN}', None),
        (b"\xff\x00", None),
        ("{}", "id"),
        ('{"id":7,"type":"chat"}', "id"),
        ('{"id":"","type":"chat"}', "id"),
        ('{"id":"a","type":"embeddings"}', "type"),
        ('{"id":"a","type":["chat"]}', "type"),
        (json.dumps({"id": "a", **TEXT, "temperature": 9}), "temperature"),
        (json.dumps({"id": "a", **TEXT, "model": "nope"}), "model"),
        ('{"id":"a","prompt":"' + "x" * (5 << 20) + '"}', None),
    ],
)
def test_a_bad_message_is_one_error_and_no_more(
    stack: Stack, message: str | bytes, param: str | None
) -> None:
    with opened(stack) as socket:
        socket.send(message)
        (frame,) = frames(socket)
        assert (frame["type"], frame["error"]["param"]) == ("error", param)
        assert frame["error"]["type"] == "invalid_request_error"
        say(socket, TEXT | {"max_tokens": 1})
        assert frames(socket)[-1]["type"] == "done"


def test_open_requests_of_a_socket_are_bounded(stack: Stack) -> None:
    with opened(stack) as socket:
        for number in range(65):
            say(socket, LONG, str(number))
        (refused,) = [f for f in frames(socket) if f["type"] == "error"]
        assert (refused["id"], refused["error"]["param"]) == ("64", "socket")
        say(socket, LONG, "3")
        (twice,) = [f for f in frames(socket) if f["type"] == "error"]
        assert (twice["id"], twice["error"]["param"]) == ("3", "id")
    until(lambda: open_requests(stack) == 0)


@pytest.mark.parametrize(
    ("path", "key", "headers", "status"),
    [
        ("/v1/stream", "", {}, 401),
        ("/v1/stream", "pgd_wrong", {}, 401),
        ("/nope", "", {}, 401),
        ("/admin/", "", {}, 401),
        ("/nope", "full", {}, 404),
        ("/v1/chat/completions", "full", {}, 404),
        ("/v1/stream", "full", {"Origin": "https://evil.example"}, 403),
    ],
)
def test_only_this_path_with_a_key_is_opened(
    stack: Stack, path: str, key: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as caught, opened(stack, path, key, headers=headers):
        pass
    assert caught.value.response.status_code == status
    assert set(json.loads(caught.value.response.body)["error"]) >= {"message", "code"}


def test_a_revoked_key_ends_its_requests_and_gets_no_more(
    stack: Stack, client: httpx.Client
) -> None:
    made = client.post("/api/keys", json={"name": "socket"}).json()
    with opened(stack, key=made["key"]) as socket:
        say(socket, LONG | {"n": 8}, "open")
        assert json.loads(socket.recv(timeout=LIMIT_S))["type"] == "chunk"
        client.delete(f"/api/keys/{made['id']}")
        say(socket, TEXT, "after")
        ends = [f for f in frames(socket, ends=2) if f["type"] != "chunk"]
    assert {f["id"] for f in ends} == {"open", "after"}
    assert {f["error"]["code"] for f in ends} == {"invalid_api_key"}
