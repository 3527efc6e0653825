"""Lines of a batch, in OpenAI's shape: requests in, one answer or error out for each.

An output line's `id` holds the number of its input line; together with `custom_id` it says which
requests are done, so a batch that was cut off goes on where it stopped. A request is not done while
the server was too busy for it, or gave no answer that can be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from inference_site.commands import CommandFailed

URLS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/pooling",
        "/classify",
        "/score",
        "/v1/score",
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
    }
)
BUSY = (429, 503)
UNREADABLE = "unreadable_answer"
Mark = tuple[str, str | None]  # id and custom_id of a request


class BadLine(ValueError):
    """An input line that is no request; its message becomes the line's error."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One input line."""

    number: int  # from 1
    custom_id: str | None
    url: str = ""
    body: dict[str, Any] | None = None
    wrong: str = ""  # why it cannot be sent

    @property
    def mark(self) -> Mark:
        return (f"batch_req_{self.number}", self.custom_id)


def requests_of(path: Path) -> Iterator[BatchRequest]:
    """All lines, wrong ones included; blank ones are passed over. Raises `CommandFailed`."""
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _request(number, line, seen)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}.") from None


def _request(number: int, line: str, seen: set[str]) -> BatchRequest:
    custom_id = None
    try:
        found = orjson.loads(line)  # strict: what it takes can be sent
        if not isinstance(found, dict):
            raise BadLine("is no JSON object")
        custom_id = found.get("custom_id")
        if not isinstance(custom_id, str):
            custom_id = None
            raise BadLine("has no custom_id, a text that names it")
        if custom_id in seen:
            raise BadLine(f"repeats the custom_id {custom_id!r}")
        seen.add(custom_id)
        url, body = _checked(found)
    except json.JSONDecodeError:
        return BatchRequest(number, None, wrong=f"Line {number} is no JSON.")
    except BadLine as error:
        return BatchRequest(number, custom_id, wrong=f"Line {number} {error}.")
    return BatchRequest(number, custom_id, url, body)


def _checked(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    url, body = found.get("url"), found.get("body")
    if found.get("method", "POST") != "POST":
        raise BadLine("has a method that is not POST")
    if not isinstance(url, str) or url not in URLS:
        raise BadLine(f"has the url {url!r}; possible are {', '.join(sorted(URLS))}")
    if not isinstance(body, dict):
        raise BadLine("has no body, the JSON object of the request")
    if body.get("stream"):
        raise BadLine("asks for a stream, which a file cannot hold: leave stream out")
    return url, body


def answer_line(
    request: BatchRequest, *, status: int, request_id: str, body: Any
) -> dict[str, Any]:
    """What the server said, good or bad."""
    name, custom_id = request.mark
    response = {"status_code": status, "request_id": request_id, "body": body}
    return {"id": name, "custom_id": custom_id, "response": response, "error": None}


def error_line(request: BatchRequest, code: str, message: str) -> dict[str, Any]:
    """For a line that was never sent, or whose answer cannot be read."""
    name, custom_id = request.mark
    error = {"code": code, "message": message}
    return {"id": name, "custom_id": custom_id, "response": None, "error": error}


def is_final(line: dict[str, Any]) -> bool:
    """Whether the request of an output line need not be sent again."""
    response, error = line.get("response") or {}, line.get("error") or {}
    return response.get("status_code") not in BUSY and error.get("code") != UNREADABLE


class BatchOutput:
    """The output file: appended line by line, each whole on disk before the next.

    Lines that are not final, and a last one that was cut off by a kill, are taken away; their
    requests are sent again.
    Raises `CommandFailed` when the file is no output of a batch.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.done = self._read(path) if path.exists() else set[Mark]()
            self._file: IO[bytes] = path.open("ab")
        except OSError as error:
            raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from None

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def _read(path: Path) -> set[Mark]:
        done: set[Mark] = set()
        path = path.resolve()
        handle, rest = tempfile.mkstemp(dir=path.parent)
        try:
            with path.open("rb") as file, open(handle, "wb") as kept:
                for line in file:
                    if line.endswith(b"\n") and is_final(found := json.loads(line)):
                        done.add((found["id"], found["custom_id"]))
                        kept.write(line)
            shutil.copymode(path, rest)
            os.replace(rest, path)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CommandFailed(
                f"{path} exists and is no output of run-batch. Name another file."
            ) from None
        finally:
            with contextlib.suppress(FileNotFoundError):  # it has become the output
                os.unlink(rest)
        return done
