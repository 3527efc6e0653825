"""Every reply of the OpenAI-style routes that a test sees, held against the official types.

`checking()` wraps httpx's transports for the whole session: replies, errors and stream events are
validated strictly against the pinned `openai` (and for /v1/messages `anthropic`) package. What we
send beyond those types is in `EXTRAS`, field by field; anything else fails the test that saw it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx
import httpx2
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

EXTRAS = frozenset(
    {
        "ChatCompletion.prompt_logprobs",
        "ChatCompletion.prompt_token_ids",
        "ChatCompletionChunk.prompt_token_ids",
        "ChatCompletionMessage.reasoning",
        "ChatCompletionMessage.reasoning_content",
        "Choice.stop_reason",
        "Choice.token_ids",
        "ChoiceDelta.reasoning",
        "ChoiceDelta.reasoning_content",
        "CompletionChoice.prompt_logprobs",
        "CompletionChoice.prompt_token_ids",
        "CompletionChoice.stop_reason",
        "CompletionChoice.token_ids",
        "CreateEmbeddingResponse.created",
        "CreateEmbeddingResponse.id",
        "ErrorObject.code",
        "Model.max_model_len",
        "Model.parent",
        "Model.root",
    }
)
OUR_FINISHES = ("repetition",)  # beyond OpenAI's, see docs/api.md


@cache
def adapter(name: str) -> TypeAdapter[Any]:
    """Strict validator of an official type; imported only when a test needs it."""
    module, _, kind = name.rpartition(".")
    return TypeAdapter(getattr(__import__(module, fromlist=[kind]), kind))


ERROR = "openai.types.shared.ErrorObject"
WHOLE = {
    "/v1/chat/completions": "openai.types.chat.ChatCompletion",
    "/v1/completions": "openai.types.Completion",
    "/v1/responses": "openai.types.responses.Response",
    "/v1/messages": "anthropic.types.Message",
    "/v1/messages/count_tokens": "anthropic.types.MessageTokensCount",
    "/v1/embeddings": "openai.types.CreateEmbeddingResponse",
}
CHUNK = {
    "/v1/chat/completions": "openai.types.chat.ChatCompletionChunk",
    "/v1/completions": "openai.types.Completion",
    "/v1/responses": "openai.types.responses.ResponseStreamEvent",
    "/v1/messages": "anthropic.types.RawMessageStreamEvent",
}


def check_reply(path: str, status: int, kind: str, body: bytes) -> None:
    """Raise AssertionError for what the official types do not know."""
    path = path.split("?")[0]
    if path not in WHOLE and path != "/v1/models":
        return
    if kind.startswith("text/event-stream"):
        for event in body.decode().split("\n\n"):
            _check_event(path, event)
    elif status >= 400:
        _check_error(path, json.loads(body))
    elif path == "/v1/models":
        listed = json.loads(body)
        assert (listed.pop("object"), listed.keys()) == ("list", {"data"})
        for card in listed["data"]:
            check("openai.types.Model", card)
    else:
        check(WHOLE[path], json.loads(body))


def _check_event(path: str, event: str) -> None:
    lines = [line for line in event.split("\n") if line and not line.startswith(":")]
    if not lines:
        return
    fields = dict(line.split(": ", 1) for line in lines)
    if fields["data"] == "[DONE]":
        assert path.endswith("completions"), "only these end with [DONE]"
        return
    data = json.loads(fields["data"])
    if "event" in fields:
        assert fields["event"] == data["type"]
    if fields.get("event") == "ping":
        assert data == {"type": "ping"}
    elif "error" in data and path != "/v1/responses":
        _check_error(path, data)
    else:
        check(CHUNK[path], data)


def _check_error(path: str, body: dict[str, Any]) -> None:
    if path.startswith("/v1/messages"):
        assert body["type"] == "error"
        if body["error"]["type"] == "request_too_large":  # of their pages, not of their types
            body["error"]["type"] = "invalid_request_error"
        check("anthropic.types.ErrorResponse", body)
        return
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    check(ERROR, body["error"])


def check(name: str, data: Any) -> None:
    """Strictly of the type, with no extra field outside `EXTRAS`."""
    try:
        made = adapter(name).validate_json(json.dumps(_tamed(name, data)), strict=True)
    except ValidationError as error:
        raise AssertionError(f"{name} refuses {json.dumps(data)[:2000]}:\n{error}") from None
    unknown = sorted(set(_extras(made)) - EXTRAS)
    assert not unknown, f"{name} does not know {unknown}"


def _tamed(name: str, data: Any) -> Any:
    """Without what OpenAI's own servers send although their types do not say so."""
    if name.endswith("CreateEmbeddingResponse"):
        items = [i | {"embedding": []} if type(i["embedding"]) is str else i for i in data["data"]]
        return data | {"data": items}
    if not name.endswith(("Completion", "ChatCompletionChunk")):
        return data
    data = json.loads(json.dumps(data))
    for choice in data["choices"]:
        if choice.get("finish_reason") in OUR_FINISHES:
            choice["finish_reason"] = "stop"
        if name.endswith(".Completion"):
            if choice["finish_reason"] is None:  # of a chunk
                choice["finish_reason"] = "stop"
            columns = choice.get("logprobs") or {}
            for column, neutral in (("token_logprobs", 0.0), ("top_logprobs", {})):
                if columns.get(column, [1])[:1] == [None]:  # nothing predicts the first token
                    columns[column][0] = neutral
    return data


def _extras(value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{type(value).__name__}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from _extras(getattr(value, name, None))
    elif isinstance(value, list):
        for item in value:
            yield from _extras(item)


class Tee:
    """Passes a body on and shows it to `seen` when it was read to its end."""

    def __init__(self, stream: Any, seen: Callable[[bytes], None]) -> None:
        self._stream, self._seen = stream, seen

    def __iter__(self) -> Iterator[bytes]:
        parts = []
        for part in self._stream:
            parts.append(part)
            yield part
        self._seen(b"".join(parts))

    async def __aiter__(self) -> Any:
        parts = []
        async for part in self._stream:
            parts.append(part)
            yield part
        self._seen(b"".join(parts))

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def watch(library: Any, patch: pytest.MonkeyPatch) -> None:
    """Let all clients of an httpx-like library check what they read."""
    tee = type("LibraryTee", (Tee, library.SyncByteStream, library.AsyncByteStream), {})

    def watched(request: Any, response: Any) -> Any:
        path, kind = request.url.path, response.headers.get("content-type", "")
        if "content-encoding" not in response.headers:
            response.stream = tee(
                response.stream, lambda body: check_reply(path, response.status_code, kind, body)
            )
        return response

    sync, unsync = library.HTTPTransport, library.AsyncHTTPTransport
    plain, plain_async = sync.handle_request, unsync.handle_async_request

    def handle(self: Any, request: Any) -> Any:
        return watched(request, plain(self, request))

    async def handle_async(self: Any, request: Any) -> Any:
        return watched(request, await plain_async(self, request))

    patch.setattr(sync, "handle_request", handle)
    patch.setattr(unsync, "handle_async_request", handle_async)


@contextmanager
def checking() -> Iterator[None]:
    """For as long as the block lasts, every client of this process checks what it reads."""
    with pytest.MonkeyPatch.context() as patch:
        for library in (httpx, httpx2):
            watch(library, patch)
        yield
