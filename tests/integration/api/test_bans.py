"""What an address gets that sends many wrong keys, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.stack import MODEL, Stack

AFTER = 5
BODY = {"model": MODEL, "prompt": "a", "max_tokens": 1}
WRONG = {"Authorization": "Bearer pgd_wrong"}


@pytest.fixture
def base(stack: Stack) -> Iterator[str]:
    """A web process of its own, so that nobody else is banned."""
    with stack.second_web(PAGODA_BAN_AFTER=str(AFTER)) as url:
        yield url


@pytest.fixture
def http(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base, timeout=30, trust_env=False) as made:
        yield made


def whose(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_banned_address_tries_no_more_keys(stack: Stack, base: str, http: httpx.Client) -> None:
    for path in ("/v1/models", "/api/keys", "/v1/nothing", "/metrics"):  # as through a proxy
        assert http.get(path, headers=WRONG | {"X-Forwarded-For": "::1"}).status_code == 401, path
    assert http.get("/v1/models", headers={"X-Forwarded-For": "::1"}).status_code == 401
    at = {"X-Forwarded-For": "::1"}
    refused = [
        http.post("/v1/completions", json=BODY, headers=WRONG | at),
        http.post("/v1/messages", json=BODY, headers={"x-api-key": "pgd_wrong"} | at),
        http.get("/v1/models", headers=at),
        http.get("/metrics", headers=WRONG | at),
        http.get("/v1/models", headers=whose(stack.keys["plain"]) | at),  # never seen here
    ]
    assert [reply.status_code for reply in refused] == [429] * len(refused)
    error = refused[0].json()["error"]
    assert (error["type"], error["param"]) == ("rate_limit_error", "address")
    assert 1 <= int(refused[0].headers["retry-after"]) <= 300
    with pytest.raises(InvalidStatus) as raised:
        connect(
            f"ws{base.removeprefix('http')}/v1/stream",
            additional_headers=whose(stack.keys["plain"]) | at,
        ).close()
    assert raised.value.response.status_code == 429


def test_neighbours_of_a_banned_address_go_on(stack: Stack, http: httpx.Client) -> None:
    at = {"X-Forwarded-For": "::1"}
    known = whose(stack.keys["full"])  # the stack has asked with it
    for _ in range(AFTER + 1):
        last = http.get("/v1/models", headers=WRONG | at)
    assert last.status_code == 429
    assert http.get("/v1/models", headers=known | at).status_code == 200
    assert http.post("/v1/completions", json=BODY, headers=known | at).status_code == 200
    assert http.get("/livez", headers=at).status_code == 200
    assert http.get("/v1/models", headers=WRONG).status_code == 401  # the loopback itself
    other = {"X-Forwarded-For": "203.0.113.9, 203.0.113.8"}  # the proxy saw the last one
    assert http.get("/v1/models", headers=WRONG | other).status_code == 401


def test_only_401_counts(stack: Stack, http: httpx.Client) -> None:
    plain = whose(stack.keys["plain"])
    for _ in range(AFTER):
        assert http.get("/api/keys", headers=plain).status_code == 403
        assert http.post("/v1/completions", json={}, headers=plain).status_code == 400
        assert http.get("/nothing", headers=plain).status_code == 404
    assert http.get("/v1/models", headers=WRONG).status_code == 401
