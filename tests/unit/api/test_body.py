"""Reading bodies: the cap holds while reading, JSON is strict."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api.body import Disconnected, check_content_type, check_headers, parse_object, read_body
from engine.errors import BodyTooLarge, InvalidRequest

MIB = 1024 * 1024


class Upload:
    """An ASGI `receive` that counts what was taken from it."""

    def __init__(self, chunk: bytes, count: int) -> None:
        self.chunk, self.left, self.taken = chunk, count, 0

    async def __call__(self) -> dict[str, Any]:
        self.left -= 1
        self.taken += len(self.chunk)
        return {"type": "http.request", "body": self.chunk, "more_body": self.left > 0}


async def test_a_body_in_pieces_is_joined() -> None:
    assert await read_body(Upload(b"ab", 3), [], 10) == b"ababab"


async def test_a_declared_length_over_the_cap_reads_nothing() -> None:
    upload = Upload(b"x" * 65536, 10**6)
    with pytest.raises(BodyTooLarge):
        await read_body(upload, [(b"content-length", b"5000000000")], 4 * MIB)
    assert upload.taken == 0


async def test_an_undeclared_body_stops_at_the_cap() -> None:
    upload = Upload(b"x" * 65536, 10**6)
    with pytest.raises(BodyTooLarge):
        await read_body(upload, [], 4 * MIB)
    assert upload.taken <= 4 * MIB + 65536


async def test_a_client_that_leaves_while_sending_is_noticed() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(Disconnected):
        await read_body(receive, [], 10)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"  ",
        b"{",
        b"[1]",
        b'"text"',
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a":' * 64 + b"{}" + b"}" * 64,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_not_a_strict_flat_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_object(data)


def test_64_levels_and_many_flat_lists_pass() -> None:
    parse_object(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")
    parse_object(b'{"a":[' + b",".join([b"[1]"] * 5000) + b"]}")


def test_only_json_is_taken() -> None:
    check_content_type([(b"content-type", b"application/json; charset=utf-8")])
    for kind in (b"text/plain", b"", b"application/jsonx", b"multipart/form-data"):
        with pytest.raises(InvalidRequest):
            check_content_type([(b"content-type", kind)])


def test_headers_are_bounded() -> None:
    check_headers([(b"a", b"b")] * 100)
    with pytest.raises(InvalidRequest):
        check_headers([(b"a", b"b")] * 101)
    with pytest.raises(InvalidRequest):
        check_headers([(b"a", b"b" * 65536)])
