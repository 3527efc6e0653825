"""Texts of requests and answers, for keys that keep them: stored, shown, deleted.

A row stands apart from the usage row of its request: usage needs no text, and a text that is lost
(its web process was killed) costs no usage. What is stored is deflated and not encrypted.
"""

from __future__ import annotations

import datetime as dt
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from apps.api.models import ApiKey
from apps.usage.models import StoredBody

MAX_BYTES = 1 << 20  # of a request, and of an answer; what is longer is cut and says so
BATCH = 500
LEVEL = 1  # of deflate: streams shrink to a twentieth even so
VIEW = "usage.view_storedbody"


@dataclass(slots=True)
class Body:
    """One exchange as it went over the wire; at most `MAX_BYTES` of each side."""

    rid: str
    key_id: str
    request: bytes
    request_bytes: int
    answer: bytes
    answer_bytes: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A stored exchange for people. `said` is the text of a stream, put together."""

    ends_at: dt.datetime
    request: str
    request_cut: bool
    answer: str
    answer_cut: bool
    said: str


@transaction.atomic
def bodies_add(bodies: Sequence[Body]) -> None:
    """Store those whose keys keep bodies now, whatever the key said when the request began."""
    ids = {body.key_id for body in bodies}
    # The lock lets nobody switch a key off between this answer and our rows (PostgreSQL).
    keeping = ApiKey.objects.select_for_update().filter(public_id__in=ids)
    days = dict(
        keeping.filter(keep_bodies_days__isnull=False)
        .order_by("pk")
        .values_list("public_id", "keep_bodies_days")
    )
    now = timezone.now()
    StoredBody.objects.bulk_create(
        (_row(body, now, days[body.key_id] or 0) for body in bodies if body.key_id in days),
        ignore_conflicts=True,
    )


def _row(body: Body, now: dt.datetime, days: int) -> StoredBody:
    return StoredBody(
        rid=body.rid,
        key_id=body.key_id,
        stored_at=now,
        ends_at=now + dt.timedelta(days=days),
        request=zlib.compress(body.request, LEVEL),
        request_bytes=body.request_bytes,
        answer=zlib.compress(body.answer, LEVEL),
        answer_bytes=body.answer_bytes,
    )


def bodies_keep(*, key_id: str, days: int | None) -> None:
    """What a key stored follows its new setting: None deletes all of it, fewer days bring its end
    forward, more days change nothing that was promised."""
    rows = StoredBody.objects.filter(key_id=key_id)
    if days is None:
        rows.delete()
        return
    end = F("stored_at") + dt.timedelta(days=days)
    rows.filter(ends_at__gt=end).update(ends_at=end)


def bodies_prune(*, stored_before: dt.datetime) -> int:
    """Delete what has reached its end, and what is older than any usage row. Returns how many."""
    now = timezone.now()
    old = StoredBody.objects.filter(ends_at__lt=now) | StoredBody.objects.filter(
        stored_at__lt=stored_before
    )
    gone = 0
    while ids := _some(old):
        gone += StoredBody.objects.filter(pk__in=ids).delete()[0]
    return gone


def _some(rows: QuerySet[StoredBody]) -> list[int]:
    return list(rows.values_list("pk", flat=True)[:BATCH])


def body_read(rid: str) -> Shown | None:
    """What is kept of a request. One query."""
    row = StoredBody.objects.filter(rid=rid, ends_at__gt=timezone.now()).first()
    if row is None:
        return None
    request, answer = _text(row.request), _text(row.answer)
    said = "\n\n".join(_said(answer))
    return Shown(
        ends_at=row.ends_at,
        request=_pretty(request),
        request_cut=row.request_bytes > MAX_BYTES,
        answer=answer if said else _pretty(answer),
        answer_cut=row.answer_bytes > MAX_BYTES,
        said=said,
    )


def request_read(rid: str) -> dict[str, Any] | None:
    """The body of a kept request, to ask it again; None where it is not kept whole."""
    row = StoredBody.objects.filter(rid=rid, ends_at__gt=timezone.now()).first()
    if row is None or row.request_bytes > MAX_BYTES:
        return None
    body: dict[str, Any] = json.loads(_text(row.request))
    return body


def _text(deflated: bytes | memoryview[int]) -> str:
    """A cut may lie within a character."""
    return zlib.decompress(deflated).decode("utf-8", errors="replace")


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:  # cut
        return text


def _said(stream: str) -> Iterator[str]:
    """The text of each choice of a stream, whichever of our APIs spoke."""
    choices: dict[int, list[str]] = defaultdict(list)
    for event in _events(stream):
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or choice
            choices[choice.get("index", 0)].append(_piece(delta))
        if (delta := event.get("delta")) is not None:
            choices[0].append(delta if isinstance(delta, str) else _piece(delta))
    for _, pieces in sorted(choices.items()):
        if text := "".join(pieces):
            yield text


def _piece(delta: dict[str, Any]) -> str:
    """Text of one delta of chat, completions or messages; calls by their arguments."""
    calls = (call.get("function") or {} for call in delta.get("tool_calls") or ())
    called = "".join((call.get("name") or "") + (call.get("arguments") or "") for call in calls)
    names = ("reasoning_content", "content", "text", "thinking", "partial_json")
    return "".join(delta.get(name) or "" for name in names) + called


def _events(stream: str) -> Iterator[dict[str, Any]]:
    for line in stream.split("\n"):
        if line.startswith("data: {"):
            try:
                yield json.loads(line[6:])
            except ValueError:  # the last one, cut
                return
