"""No field is accepted in vain: see `field_table.py`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from apps.api import messages_body, responses_body
from tests.e2e.serve.field_table import (
    ROUTES,
    AsInChat,
    Changes,
    Facts,
    Ignored,
    Row,
    ShownBy,
)
from tests.served import Served
from tests.stack import ROOT

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


PLAIN: dict[str, Any] = {}  # answers to bodies that several rows share


def answered_once(http: httpx.Client, route: str, body: dict[str, Any]) -> Any:
    place = route + repr(body)
    if place not in PLAIN:
        PLAIN[place] = answered(http, route, body)
    return PLAIN[place]


def answered(http: httpx.Client, route: str, body: dict[str, Any]) -> Any:
    """All that a client sees of the answer, but for what differs each time."""
    reply = http.post(route, json={k: v for k, v in body.items() if v is not None})
    rid = reply.headers["x-request-id"]
    text = reply.text.replace(rid, "RID")
    for name in ("created", "created_at"):
        head, *rest = text.split(f'"{name}":')
        text = head + "".join(part.lstrip("0123456789.") for part in rest)
    return reply.status_code, reply.headers.get("x-client-request-id"), text


@pytest.mark.parametrize(("route", "name"), CASES)
def test_a_field_has_an_effect_or_is_named(
    http: httpx.Client, facts: dict[str, Facts], route: str, name: str
) -> None:
    base, rows = ROUTES[route]
    row: Row = rows[name]
    known = facts[route]
    body = {"model": known.model} | base
    match row:
        case Changes(value, more, primed):
            body |= more(known)
            if primed:
                answered(http, route, body)
                plain = answered(http, route, body)
            else:
                plain = answered_once(http, route, body)
            changed = answered(http, route, body | {name: value(known)})
            assert 200 in (plain[0], changed[0])
            assert changed != plain
        case Ignored(value, more):
            reply = http.post(route, json=body | more | {name: value})
            assert reply.status_code == 200
            assert name in reply.headers["x-pagoda-ignored"].split(", ")
        case AsInChat(value):
            read = responses_body.read if route == "/v1/responses" else messages_body.read
            chats = [part for part in read(body | {name: value}) if isinstance(part, dict)]
            assert chats[0][name] == value
            assert isinstance(ROUTES["/v1/chat/completions"][1][name], Changes)
        case ShownBy(file, test):
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            tree = ast.parse((ROOT / file).read_text())
            assert test in {n.name for n in ast.walk(tree) if isinstance(n, functions)}


def test_every_field_of_every_route_has_a_row(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for route, (_, rows) in ROUTES.items():
        body = document["paths"][route]["post"]["requestBody"]
        reference = body["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        assert schema["properties"].keys() == rows.keys(), route
