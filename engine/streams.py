"""Redis stream replies in one form, whatever the protocol and server version."""

from __future__ import annotations

from typing import Any

Fields = dict[bytes, bytes]
Entry = tuple[str, Fields]


def by_stream(reply: Any) -> dict[str, list[Entry]]:
    """Reply of XREAD or XREADGROUP → entries per stream name.

    RESP2 gives a list of [name, entries], RESP3 a map of name → [entries]; None means no news.
    An entry that was deleted while it was pending has no fields and is left out.
    """
    if not reply:
        return {}
    pairs = reply.items() if isinstance(reply, dict) else reply
    return {_text(name): entries(found) for name, found in pairs}


def entries(found: Any) -> list[Entry]:
    """Entries as (id, fields), from XRANGE or from one stream of XREAD."""
    if found and isinstance(found[0], list) and (not found[0] or _is_pair(found[0][0])):
        found = found[0]  # RESP3 wraps the entries once more
    return [(_text(pair[0]), pair[1]) for pair in found if pair and pair[1]]


def claimed(reply: Any) -> tuple[str, list[Entry]]:
    """Reply of XAUTOCLAIM → (next cursor, entries): two elements on 6.2, three on 7 and later."""
    return _text(reply[0]), entries(reply[1])


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
