"""The one error body."""

from __future__ import annotations

import logging

import orjson
import pytest
from rest_framework import exceptions as drf

from apps.api.errors import (
    body_of,
    field_path,
    from_drf,
    headers_of,
    json_of,
    public_error,
    unknown_route,
)
from engine import errors

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type)]
WIRE = [kind for kind in ALL if issubclass(kind, errors.PagodaError)]


@pytest.mark.parametrize("kind", [k for k in WIRE if k is not errors.EngineStartError])
def test_every_error_has_the_four_fields(kind: type[errors.PagodaError]) -> None:
    error = kind("What was wrong.", param="field")
    body = orjson.loads(json_of(error))["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert body["message"] == "What was wrong."
    assert body["code"] is None or isinstance(body["code"], str)


@pytest.mark.parametrize("kind", [errors.RateLimited, errors.Overloaded, errors.QuotaExceeded])
def test_try_again_says_when(kind: type[errors.PagodaError]) -> None:
    assert (b"retry-after", b"3") in headers_of(kind("x", retry_after_s=2.1))
    assert (b"retry-after", b"1") in headers_of(kind("x"))


def test_unknown_failures_say_nothing_of_themselves(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        shown = public_error(ValueError("secret /path 0xdeadbeef"), "rid-1")
    assert (shown.status, shown.type) == (500, "server_error")
    assert "secret" not in str(body_of(shown))
    assert "rid-1" in shown.message
    assert caplog.records


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (drf.NotAuthenticated(), 401),
        (drf.PermissionDenied(), 403),
        (drf.NotFound(), 404),
        (drf.ParseError(), 400),
        (drf.UnsupportedMediaType("x"), 400),
        (drf.ValidationError({"name": ["bad"]}), 400),
        (errors.RateLimited("x"), 429),
    ],
)
def test_drf_errors_become_ours(raised: Exception, status: int) -> None:
    found = from_drf(raised)
    assert found is not None
    assert found.status == status


def test_serializer_errors_name_their_field() -> None:
    found = from_drf(drf.ValidationError({"name": ["Too long."]}))
    assert found is not None
    assert found.param == "name"


def test_field_paths_drop_union_tags() -> None:
    known = frozenset({"messages", "content"})
    assert field_path(("messages", 0, "list[Part]", "content"), known) == "messages[0].content"


@pytest.mark.parametrize("path", ["/" + "x" * 300, "/é", "/a\nb"])
def test_odd_paths_are_not_echoed(path: str) -> None:
    assert path not in unknown_route(path).message
