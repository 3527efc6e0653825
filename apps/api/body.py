"""Reading a JSON body from the socket: never more than the cap, then strict JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from apps.api.caps import MAX_DEPTH, MAX_HEADER_BYTES, MAX_HEADERS
from engine.errors import BodyTooLarge, InvalidRequest

Receive = Callable[[], Awaitable[dict[str, Any]]]
Header = tuple[bytes, bytes]


class Disconnected(Exception):
    """The client left before its request was complete."""


def header(headers: list[Header], name: bytes) -> bytes | None:
    """First value of a header (names are lower case in ASGI)."""
    for key, value in headers:
        if key == name:
            return value
    return None


def check_headers(headers: list[Header]) -> None:
    """Raise `InvalidRequest` for too many or too long headers."""
    if len(headers) > MAX_HEADERS:
        raise InvalidRequest(f"The request has {len(headers)} headers; at most {MAX_HEADERS} fit.")
    if sum(len(key) + len(value) for key, value in headers) > MAX_HEADER_BYTES:
        raise InvalidRequest(f"The headers are larger than {MAX_HEADER_BYTES} bytes in all.")


async def read_body(receive: Receive, headers: list[Header], cap: int) -> bytes:
    """The whole body. Raises `BodyTooLarge` before anything over the cap is kept."""
    length = header(headers, b"content-length")
    if length is not None and length.isdigit() and int(length) > cap:
        raise _too_large(cap)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > cap:
            raise _too_large(cap)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def check_content_type(headers: list[Header]) -> None:
    """JSON routes take JSON only. Raises `InvalidRequest`."""
    kind = header(headers, b"content-type") or b""
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        raise InvalidRequest("The body must be JSON with 'Content-Type: application/json'.")


def parse_object(data: bytes) -> dict[str, Any]:
    """Strict JSON (UTF-8, no NaN or Infinity, no lone surrogates) that holds one object."""
    if not data.strip():
        raise InvalidRequest("The body is empty; send a JSON object.")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON (character {error.pos}).") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    # Counting brackets is cheap and bounds the depth; only bodies with many are walked.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _too_large(cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {cap} bytes. Send less in one request.")
