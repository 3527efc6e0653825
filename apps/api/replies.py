"""Heads of responses, and refusals."""

from __future__ import annotations

from apps.api.admission import Call
from apps.api.body import Header, Receive, header
from apps.api.errors import headers_of, json_of
from apps.api.parse import IGNORED_NAMES
from apps.api.writer import Headers, ResponseWriter
from engine.client import LimitLeft
from engine.errors import BodyTooLarge, PagodaError

JSON = (b"content-type", b"application/json")
SSE: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_RATE_NAMES = {"rpm": b"requests", "tpm": b"tokens"}


async def refuse(
    error: PagodaError, rid: str, writer: ResponseWriter, receive: Receive | None,
    body: bytes | None = None,
) -> None:  # fmt: skip
    """The error as a response."""
    body = json_of(error) if body is None else body
    headers = [JSON, (b"x-request-id", rid.encode()), *headers_of(error)]
    if isinstance(error, BodyTooLarge) and receive is not None:
        await writer.refuse_upload(error.status, headers, body, receive)
    else:
        await writer.whole(error.status, headers, body)


def reply_headers(call: Call, unmet: tuple[str, ...], left: tuple[LimitLeft, ...]) -> Headers:
    """Ids, names of what was ignored, and what is left of the key's limits."""
    headers: Headers = [(b"x-request-id", call.rid.encode())]
    if call.client_request_id:
        headers.append((b"x-client-request-id", call.client_request_id.encode()))
    if ignored := (*unmet, *call.ignored):
        headers.append((b"x-pagoda-ignored", ", ".join(ignored[:IGNORED_NAMES]).encode()))
    for kind, name in _RATE_NAMES.items():
        of_kind = [limit for limit in left if limit.rule.kind == kind]
        if of_kind:  # the key's and its owner's: the one that will refuse first
            limit = min(of_kind, key=lambda limit: limit.remaining)
            headers += [
                (b"x-ratelimit-limit-" + name, b"%d" % limit.rule.limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % max(0, limit.remaining)),
                (b"x-ratelimit-reset-" + name, b"%.3fs" % limit.reset_s),
            ]
    return headers


def own_id(headers: list[Header]) -> str:
    return (header(headers, b"x-request-id") or b"").decode("latin-1")


def printable(text: str | None) -> str:
    """The caller's own id if it may stand in a header, else empty."""
    return text if text and len(text) <= 128 and text.isascii() and text.isprintable() else ""
