"""No field is accepted in vain: see `field_table.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from apps.api import messages_body, responses_body
from tests.e2e.serve.field_table import ROUTES, AsInChat
from tests.fields import Changes, Facts, accepted, check_row
from tests.integration.api import pooling_table
from tests.served import Served

CASES = [(route, name) for route, (_, rows) in ROUTES.items() for name in rows]


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {served.boot['api_key']}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture(scope="module")
def facts(http: httpx.Client) -> dict[str, Facts]:
    """By route: what rows of completions and of all others need to know."""
    model = http.get("/v1/models").json()["data"][0]["id"]
    more = {"model": model, "return_token_ids": True}
    stop: Any = {"messages": [{"role": "user", "content": "Hello!"}]}
    ended = http.post("/v1/chat/completions", json=stop | more).json()
    eos = ended["choices"][0]["token_ids"][-1]
    found = {}
    for route in ("/v1/completions", "/v1/chat/completions"):
        body = ROUTES[route][0] | more
        ids = http.post(route, json=body).json()["choices"][0]["token_ids"]
        words = [
            http.post("/detokenize", json={"model": model, "tokens": [i]}).json()["prompt"]
            for i in ids
        ]
        found[route] = Facts(model, eos, ids, words)
    return {route: found.get(route, found["/v1/chat/completions"]) for route in ROUTES}


@pytest.mark.parametrize(("route", "name"), CASES)
def test_a_field_has_an_effect_or_is_named(
    http: httpx.Client, facts: dict[str, Facts], route: str, name: str
) -> None:
    base, rows = ROUTES[route]
    row = rows[name]
    if not isinstance(row, AsInChat):
        check_row(http, facts[route], route, base, name, row)
        return
    read = responses_body.read if route == "/v1/responses" else messages_body.read
    body = {"model": facts[route].model} | base | {name: row.value}
    chats = [part for part in read(body) if isinstance(part, dict)]
    assert chats[0][name] == row.value
    assert isinstance(ROUTES["/v1/chat/completions"][1][name], Changes)


def test_every_field_of_every_route_has_a_row(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    paths = document["paths"].items()
    posts = {path for path, methods in paths if "requestBody" in methods.get("post", {})}
    managed = {path for path in posts if path.startswith("/api/") or path.endswith("_lora_adapter")}
    assert posts - managed == ROUTES.keys() | pooling_table.ROUTES.keys()
    for route, (_, rows) in ROUTES.items():
        assert accepted(document, route) == rows.keys(), route
