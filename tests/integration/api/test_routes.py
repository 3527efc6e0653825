"""Every route: authentication first, one error shape, methods and unknown paths."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.stack import Stack

PUBLIC = ("/livez", "/readyz", "/health", "/ping", "/version")
WALK = """
from django.urls import get_resolver
def walk(patterns, prefix):
    for p in patterns:
        route = prefix + str(p.pattern).lstrip("^").rstrip("$")
        if hasattr(p, "url_patterns"):
            yield from walk(p.url_patterns, route)
        else:
            yield "/" + route
from apps.api.routing import CONSUMERS, is_public
routes = [*walk(get_resolver().url_patterns, ""), *(c.route for c in CONSUMERS)]
import re
concrete = {re.sub(r"<[^>]+>|[(]\\\\?P.*?[)]", "x", r) for r in routes}
print(json.dumps([[r, is_public(r)] for r in sorted(concrete)]))
"""


def assert_error(reply: httpx.Response, status: int, **fields: Any) -> None:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert {name: error[name] for name in fields} == fields
    assert reply.headers["x-request-id"]


def test_every_route_is_public_by_list_or_wants_a_key(stack: Stack, stranger: httpx.Client) -> None:
    import json

    routes = json.loads(stack.manage(WALK))
    assert len(routes) > 10
    for route, public in routes:
        if not public:
            for method in ("GET", "POST", "DELETE"):
                assert_error(stranger.request(method, route), 401, code="invalid_api_key")


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
    make = "from apps.api.keyformat import _checksum, _base62\nimport secrets\n"
    make += "b = sys.argv[1][:13] + _base62(secrets.randbits(256), 43)\nprint(b + _checksum(b))"
    forged = stack.manage(make, stack.keys["plain"])
    for path in ("/v1/completions", "/v1/models"):
        assert_error(stranger.post(path, headers={"Authorization": f"Bearer {forged}"}), 401)


def test_scopes_decide(plain: httpx.Client, client: httpx.Client) -> None:
    assert client.get("/api/keys").status_code == 200
    assert_error(plain.get("/api/keys"), 403, type="permission_error")
    assert plain.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/chat/completions", "/tokenize", "/api/keys"]
)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a":NaN}', b'{"a":"\xff"}', b"[" * 10_000]
)
def test_bad_json_is_400_everywhere(client: httpx.Client, path: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_error(client.post(path, content=content, headers=headers), 400)


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


def test_unknown_model_is_404_with_its_code(client: httpx.Client) -> None:
    for reply in (
        client.post("/v1/completions", json={"model": "nope", "prompt": "a"}),
        client.get("/v1/models/nope"),
        client.post("/tokenize", json={"model": "nope", "prompt": "a"}),
    ):
        assert_error(reply, 404, code="model_not_found", param="model")
