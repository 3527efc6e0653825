"""JSON from strangers: bounded in size and depth, without duplicate keys or NaN."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 8


class BadJson(ValueError):
    """The text is no JSON object we would read; the message says why."""


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """One JSON object. Raises `BadJson` naming `what`."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
    except BadJson as error:
        raise BadJson(f"{what} {error}") from None
    except (ValueError, RecursionError) as error:
        raise BadJson(f"{what} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise BadJson(f"{what} is not a JSON object.")
    if _depth(value) > MAX_DEPTH:
        raise BadJson(f"{what} is nested more than {MAX_DEPTH} levels deep.")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadJson(f"names {key[:100]!r} twice.")
        found[key] = value
    return found


def _no_constant(name: str) -> float:
    raise BadJson(f"holds {name}, which JSON does not have.")


def _depth(value: Any) -> int:
    """Levels of objects and lists. No recursion: the parser's own limit is far above ours."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        item, level = stack.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, level)
            children = item.values() if isinstance(item, dict) else item
            stack += [(child, level + 1) for child in children]
    return deepest
