"""The check of replies against official types refuses what those types do not know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire_types import check_reply

CHOICE = {"index": 0, "text": "x", "logprobs": None, "finish_reason": "stop", "stop_reason": None}
WHOLE = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [CHOICE]}


def seen(body: Any, status: int = 200, kind: str = "application/json") -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    check_reply("/v1/completions", status, kind, data)


def test_what_the_types_know_passes() -> None:
    seen(WHOLE)
    seen(b"data: " + json.dumps(WHOLE).encode() + b"\n\ndata: [DONE]\n\n", kind="text/event-stream")


@pytest.mark.parametrize(
    "changed",
    [
        WHOLE | {"created": "1"},
        WHOLE | {"surprise": 1},
        WHOLE | {"object": "chat.completion"},
        WHOLE | {"choices": [CHOICE | {"finish_reason": "tired"}]},
        WHOLE | {"choices": [CHOICE | {"surprise": 1}]},
    ],
)
def test_what_they_do_not_know_fails(changed: Any) -> None:
    with pytest.raises(AssertionError):
        seen(changed)
    event = b"data: " + json.dumps(changed).encode() + b"\n\n"
    with pytest.raises(AssertionError):
        seen(event, kind="text/event-stream")


def test_errors_have_one_form() -> None:
    error: dict[str, Any] = {"message": "m", "type": "t", "param": None, "code": None}
    seen({"error": error}, 400)
    for bad in ({"error": error | {"code": 400}}, {"error": error | {"x": 1}}, {"detail": "x"}):
        with pytest.raises(AssertionError):
            seen(bad, 400)
