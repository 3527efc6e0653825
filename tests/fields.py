"""Rows of the tables of fields: how one sees that a field is not accepted in vain.

A row is one of three: two requests that must be answered differently (`Changes`), a request whose
`X-Pagoda-Ignored` names the field (`Ignored`), or a test elsewhere, for what the table's server
cannot show (`ShownBy`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.stack import ROOT

Fields = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What the rows need to know of the running model."""

    model: str
    eos: int = 0
    tokens: list[int] = field(default_factory=list)  # greedy answer to the base of the route
    words: list[str] = field(default_factory=list)  # the same, token by token


@dataclass(frozen=True)
class Changes:
    """`base` and `base` with the field are answered differently."""

    value: Callable[[Facts], Any]
    base: Callable[[Facts], Fields] = lambda facts: {}
    primed: bool = False  # send `base` once before, so that its prompt is cached


@dataclass(frozen=True)
class Ignored:
    """The field is named in the header."""

    value: Any
    base: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class ShownBy:
    """Path of a test file and the name of a test in it."""

    file: str
    test: str


def changes(value: Any, **base: Any) -> Changes:
    return Changes(lambda facts: value, lambda facts: base)


def check_row(
    http: httpx.Client, facts: Facts, route: str, base: Fields, name: str,
    row: Changes | Ignored | ShownBy,
) -> None:  # fmt: skip
    """Fails unless the field does what its row says."""
    body = {"model": facts.model} | base
    match row:
        case Changes(value, more, primed):
            body |= more(facts)
            if primed:
                answered(http, route, body)
                plain = answered(http, route, body)
            else:
                plain = answered_once(http, route, body)
            changed = answered(http, route, body | {name: value(facts)})
            assert 200 in (plain[0], changed[0])
            assert changed != plain
        case Ignored(value, more):
            reply = http.post(route, json=body | more | {name: value})
            assert reply.status_code == 200
            assert name in reply.headers["x-pagoda-ignored"].split(", ")
        case ShownBy(file, test):
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            tree = ast.parse((ROOT / file).read_text())
            assert test in {n.name for n in ast.walk(tree) if isinstance(n, functions)}


def accepted(document: Any, route: str) -> set[str]:
    """The fields of a route's body in the OpenAPI document."""
    body = document["paths"][route]["post"]["requestBody"]
    reference = body["content"]["application/json"]["schema"]["$ref"]
    return set(document["components"]["schemas"][reference.rpartition("/")[2]]["properties"])


PLAIN: dict[str, Any] = {}  # answers to bodies that several rows share


def answered_once(http: httpx.Client, route: str, body: Fields) -> Any:
    place = f"{http.base_url}{route}{body!r}"
    if place not in PLAIN:
        PLAIN[place] = answered(http, route, body)
    return PLAIN[place]


def answered(http: httpx.Client, route: str, body: Fields) -> Any:
    """All that a client sees of the answer, but for what differs each time."""
    reply = http.post(route, json={k: v for k, v in body.items() if v is not None})
    rid = reply.headers["x-request-id"]
    text = reply.text.replace(rid, "RID")
    for name in ("created", "created_at"):
        head, *rest = text.split(f'"{name}":')
        text = head + "".join(part.lstrip("0123456789.") for part in rest)
    return reply.status_code, reply.headers.get("x-client-request-id"), text
