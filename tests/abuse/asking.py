"""Ask what the corpus holds, and say what is wrong with an answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.sync.client import connect

from tests.abuse.corpus import Bad
from tests.abuse.forms import FRAMES
from tests.served import ROOT

LEAKS = re.compile(
    r"Traceback|0x[0-9a-f]{8}|/site-packages/|File \"|object at |\.py\b|" + re.escape(f"{ROOT}/")
)


@dataclass
class Seen:
    """What came of it: answers by class, how long each took (ms), and what was wrong."""

    took_ms: list[float] = field(default_factory=list)
    by_kind: dict[str, int] = field(default_factory=dict)
    by_status: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, status: int, took_s: float, wrong: str) -> None:
        self.took_ms.append(took_s * 1000)
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1
        self.by_status[status] = self.by_status.get(status, 0) + 1
        if wrong:
            self.wrong.append(wrong)


def ask_all(
    base: str, keys: Mapping[str, str], model: str, bads: Iterable[Bad], seen: Seen,
    pause_s: float = 0.0,
) -> None:  # fmt: skip
    """One after the other on one connection, one each `pause_s` at most."""
    with httpx.Client(base_url=base, timeout=30, trust_env=False) as http:
        for bad in bads:
            headers = list(bad.headers)
            if bad.key is not None:
                headers.append(("authorization", f"Bearer {keys.get(bad.key, bad.key)}"))
            data = bad.body_for(model)
            began = time.monotonic()
            reply = http.request(bad.method, bad.path, content=data, headers=headers)
            took_s = time.monotonic() - began
            wrong = complaint(bad, reply.status_code, reply.content)
            shown = f"{bad.kind}: {bad.path} {data[:200]!r}: {wrong}" if wrong else ""
            seen.add(bad.kind, reply.status_code, took_s, shown)
            time.sleep(max(0.0, pause_s - took_s))


def ask_frames(base: str, key: str, model: str, seen: Seen) -> None:
    """The wrong frames of a WebSocket: each is answered by one error, and the socket stays open."""
    headers = {"Authorization": f"Bearer {key}"}
    url = base.replace("http", "ws") + "/v1/stream"
    with connect(url, additional_headers=headers, proxy=None) as socket:
        for kind, text in FRAMES:
            began = time.monotonic()
            socket.send(text.replace("{model}", model))
            frame = json.loads(socket.recv(timeout=30))
            right = frame["type"] == "error" and _told(frame.get("error"))
            wrong = "" if right else f"{kind}: {text[:200]!r}: {frame}"
            seen.add(kind, 400 if right else 500, time.monotonic() - began, wrong)


def complaint(bad: Bad, status: int, content: bytes) -> str:
    """What is wrong with an answer; "" when it is a refusal as it should be."""
    text = content.decode(errors="replace")
    if not 400 <= status < 500:
        return f"answered {status}: {text[:300]}"
    if (leak := LEAKS.search(text)) is not None:
        return f"tells {leak[0]!r}: {text[:300]}"
    try:
        error = json.loads(text)["error"]
    except (ValueError, LookupError, TypeError):
        return f"is no error object: {text[:300]}"
    if not _told(error):
        return f"says nothing: {text[:300]}"
    named = f"{error.get('param') or ''} {error['message']}"
    return "" if bad.param in named else f"does not name {bad.param!r}: {text[:300]}"


def _told(error: Any) -> bool:
    return isinstance(error, dict) and len(str(error.get("message", ""))) >= 10
