"""Frames on a pipe between a process and its child: 4 bytes of length, little endian, then it."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import IO

import msgspec


class ChildDied(Exception):
    """Its pipe closed."""


class TooLate(Exception):
    """The time for an answer is over."""


def write_frame(sink: IO[bytes], message: msgspec.Struct) -> None:
    data = msgspec.msgpack.encode(message)
    sink.write(len(data).to_bytes(4, "little") + data)
    sink.flush()


def read_frame(source: IO[bytes]) -> bytes:
    """One frame; empty at the end of the stream."""
    head = source.read(4)
    return source.read(int.from_bytes(head, "little")) if len(head) == 4 else b""


def answer_of(child: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """One frame that a child writes, in time. Raises `TooLate` or `ChildDied`."""
    assert child.stdout is not None
    deadline = time.monotonic() + limit_s
    size = int.from_bytes(_take(child.stdout.fileno(), 4, deadline), "little")
    return _take(child.stdout.fileno(), size, deadline)


def _take(fd: int, size: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while size:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise TooLate
        if not (part := os.read(fd, min(size, 1 << 20))):
            raise ChildDied
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
