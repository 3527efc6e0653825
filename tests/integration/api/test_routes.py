"""Every route: authentication first, one error shape, methods and unknown paths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from django.urls import get_resolver
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from apps.api import keyformat, stream_socket
from apps.api.routing import CONSUMERS, is_public
from tests.stack import Stack

PUBLIC = ("/livez", "/readyz", "/health", "/ping", "/version")


def routes(patterns: list[Any] | None = None, prefix: str = "/") -> Iterator[str]:
    """Every path there is, with x for its parameters."""
    if patterns is None:
        yield from (*(consumer.route for consumer in CONSUMERS), stream_socket.ROUTE)
        patterns = get_resolver().url_patterns
    for pattern in patterns:
        route = prefix + str(pattern.pattern).lstrip("^").rstrip("$")
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns, route)
        else:
            yield re.sub(r"<[^>]+>|[(]\?P.*?[)]", "x", route)


def assert_error(reply: httpx.Response, status: int, **fields: Any) -> None:
    assert reply.status_code == status, reply.text
    assert reply.headers["x-request-id"]
    error = reply.json()["error"]
    if reply.request.url.path.startswith("/v1/messages"):  # has Anthropic's form
        assert set(error) == {"message", "type"}
        return
    assert set(error) == {"message", "type", "param", "code"}
    assert {name: error[name] for name in fields} == fields


def test_every_route_is_public_by_list_or_wants_a_key(stranger: httpx.Client) -> None:
    closed = [route for route in routes() if not is_public(route)]
    assert len(closed) > 10
    for route in closed:
        for method in ("GET", "POST", "DELETE"):
            assert_error(stranger.request(method, route), 401, code="invalid_api_key")


def test_no_route_opens_a_socket_without_a_key(stack: Stack) -> None:
    for route in [*routes(), "/admin/socket/"]:
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(stack.base.replace("http", "ws") + quote(route), proxy=None),
        ):
            pass
        wanted = 403 if route == "/admin/socket/" else 401  # that one wants a login
        assert caught.value.response.status_code == wanted


@pytest.mark.parametrize("path", PUBLIC)
def test_public_routes_need_no_key(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code in (200, 503)


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/v1", "/v1/nope", "/V1/models", "/api/", "/v1/models/"]
)
def test_unknown_paths_are_401_without_and_404_with_a_key(
    client: httpx.Client, stranger: httpx.Client, path: str
) -> None:
    assert_error(stranger.get(path), 401)
    assert_error(client.get(path), 404, type="invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/completions"),
        ("DELETE", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("GET", "/tokenize"),
        ("PUT", "/api/keys"),
    ],
)
def test_wrong_methods_are_405_after_the_key(
    client: httpx.Client, stranger: httpx.Client, method: str, path: str
) -> None:
    assert_error(stranger.request(method, path), 401)
    assert_error(client.request(method, path), 405)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic dXNlcjpw",
        "Bearer nonsense",
        "Bearer pgd_00000000_" + "0" * 49,
        "Bearer ' OR 1=1 --",
        "Bearer " + "x" * 5000,
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_bad_keys_have_one_answer(stranger: httpx.Client, header: str | None, path: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    reply = stranger.post(path, headers=headers, json={})
    assert_error(reply, 401, code="invalid_api_key", type="invalid_request_error")
    assert reply.headers["www-authenticate"] == "Bearer"


def test_a_key_with_another_secret_is_refused(stack: Stack, stranger: httpx.Client) -> None:
    body = stack.keys["plain"][:13] + keyformat.generate().text[13:56]
    forged = body + keyformat._checksum(body)
    for path in ("/v1/completions", "/v1/models"):
        assert_error(stranger.post(path, headers={"Authorization": f"Bearer {forged}"}), 401)


def test_scopes_decide(plain: httpx.Client, client: httpx.Client) -> None:
    assert client.get("/api/keys").status_code == 200
    assert_error(plain.get("/api/keys"), 403, type="permission_error")
    assert plain.get("/v1/models").status_code == 200


def bodied(client: httpx.Client) -> list[tuple[str, str]]:
    """Method and path of every route that takes a body, from the document of the server."""
    key = client.post("/api/keys", json={"name": "bodied"}).json()["id"]
    paths = client.get("/openapi.json").json()["paths"]
    found = [
        (method.upper(), path.replace("{public_id}", key))
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]
    assert len(found) >= 7
    return found


DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"3", b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\xff"}', DEEP]
)
def test_bad_json_is_400_everywhere(client: httpx.Client, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for method, path in bodied(client):
        assert_error(client.request(method, path, content=content, headers=headers), 400)


WRONG = (True, -1, 10**400, 1e308, "x" * 300, [[]], {"a": {"b": [None]}})


def test_values_of_the_wrong_type_are_never_a_server_error(client: httpx.Client) -> None:
    """Every field of every body, one after the other, with values that it cannot have."""
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    good = {"model": "tiny", "prompt": "a", "messages": [{"role": "user", "content": "a"}]}
    for method, path in bodied(client):
        generic = re.sub("/api/keys/[^/]+", "/api/keys/{public_id}", path)
        content = document["paths"][generic][method.lower()]["requestBody"]["content"]
        fields = schemas[content["application/json"]["schema"]["$ref"].rpartition("/")[2]]
        for name in fields["properties"]:
            for value in WRONG:
                body = {k: v for k, v in good.items() if k in fields["properties"]}
                body |= {"max_tokens": 1} if "max_tokens" in fields["properties"] else {}
                text = json.dumps(body | {name: value})
                reply = client.request(
                    method, path, content=text, headers={"Content-Type": "application/json"}
                )
                assert reply.status_code < 500, (path, name, value, reply.text)
                if reply.status_code >= 400:
                    assert_error(reply, reply.status_code)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/tokenize"])
def test_other_content_types_are_400(client: httpx.Client, path: str) -> None:
    assert_error(client.post(path, data={"model": "tiny"}), 400)


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/chat/completions", "/tokenize", "/api/keys", "/nope"]
)
def test_large_bodies_are_413(client: httpx.Client, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    reply = client.post(path, content=b'{"a":"' + b"x" * (5 << 20), headers=headers)
    assert_error(reply, 413, type="invalid_request_error")


def test_many_headers_are_400(client: httpx.Client) -> None:
    headers = {f"x-{i}": "1" for i in range(120)}
    assert_error(client.get("/v1/models", headers=headers), 400)


@pytest.mark.parametrize("path", ["/v1/models/%00", "/api/keys/%00", "/api/usage?model=%00"])
def test_nul_in_a_url_is_400(client: httpx.Client, path: str) -> None:
    assert_error(client.get(path), 400)


@pytest.mark.parametrize("accept", ["text/event-stream", "text/html", "nonsense"])
def test_answers_are_json_whatever_is_accepted(client: httpx.Client, accept: str) -> None:
    reply = client.get("/v1/models?format=xml", headers={"Accept": accept})
    assert reply.json()["object"] == "list"


def test_a_foreign_host_name_is_told_what_to_set(client: httpx.Client) -> None:
    reply = client.get("/v1/models", headers={"Host": "elsewhere.example"})
    assert_error(reply, 400)
    assert "PAGODA_PUBLIC_URL" in reply.json()["error"]["message"]


def test_without_a_key_nothing_else_is_told(stranger: httpx.Client) -> None:
    assert_error(stranger.get("/v1/models", headers={f"x-{i}": "1" for i in range(120)}), 401)


def test_a_conversation_is_tokenised_by_the_rules_of_a_chat(client: httpx.Client) -> None:
    talk = {"model": "tiny", "messages": [{"role": "user", "content": "a", "mood": 1}]}
    reply = client.post("/tokenize", json=talk)
    assert (reply.status_code, reply.headers["x-pagoda-ignored"]) == (200, "messages.mood")
    tool = {"type": "function", "function": {"name": "f"}}
    assert_error(client.post("/tokenize", json=talk | {"tools": [tool] * 129}), 400, param="tools")
    both = {"continue_final_message": True, "add_generation_prompt": True}
    assert_error(client.post("/tokenize", json=talk | both), 400, param="continue_final_message")
    reply = client.post("/tokenize", json={"model": "tiny", "prompt": "a", "tools": [tool]})
    assert reply.headers["x-pagoda-ignored"] == "tools"


def test_unknown_model_is_404_with_its_code(client: httpx.Client) -> None:
    for reply in (
        client.post("/v1/completions", json={"model": "nope", "prompt": "a"}),
        client.get("/v1/models/nope"),
        client.post("/tokenize", json={"model": "nope", "prompt": "a"}),
    ):
        assert_error(reply, 404, code="model_not_found", param="model")
