"""Python literals as data: strings, numbers, True/False/None, lists, tuples and dicts.

Nothing is compiled or evaluated. Depth and size are bounded; whatever is no literal (a name, a
call, an operator, an f-string, bytes, a set) is Malformed.
"""

from __future__ import annotations

import json
import math
import re

from apps.api.parsers.json_text import encodable
from apps.api.parsers.source import Malformed, Source, Steps

DEPTH = 32
LITERAL_CHARS = 262_144
NUMBER_CHARS = 64

_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[\[\](){},:])|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<quote>\"\"\"|'''|"|'))""",
    re.ASCII,
)
_BODY = re.compile(r"[^\\\"'\n]*")
_OUTSIDE = re.compile(r"[^\"'\[\](){},]*")
_INSIDE = re.compile(r"[^\"'\[\](){}]*")
_MARKS = frozenset("[](){},")
_HEX = re.compile(r"[0-9a-fA-F]+")
_OCTAL = re.compile(r"[0-7]{1,3}")
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_ESCAPES = {
    **{"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"},
    **{"\\": "\\", "'": "'", '"': '"', "\n": ""},
}
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_CLOSER = {"[": "]", "(": ")"}


def literal_as_json(text: str) -> str:
    """The literal as JSON text; Malformed when it is none."""
    reader = _Reader(text)
    value = reader.value(DEPTH)
    if text[reader.pos :].strip():
        raise Malformed
    return json.dumps(value, ensure_ascii=False)


def literal_text(source: Source) -> Steps[str]:
    """Take an argument's text, up to the `,` or `)` that ends it."""
    parts: list[str] = []
    source.tap(parts.append)
    try:
        yield from _to_end(source)
    finally:
        source.untap(parts.append)
    return "".join(parts)


def _to_end(source: Source) -> Steps[None]:
    depth, left = 0, LITERAL_CHARS
    while left > 0:
        left -= len((yield from source.run(_INSIDE if depth else _OUTSIDE, left)))
        char = yield from source.peek()
        if char in ("'", '"'):
            left -= yield from _string(source, char, left)
            continue
        if not char:
            break
        if char not in _MARKS or (depth and char == ","):
            continue  # the run goes on in the text that has come meanwhile
        if depth == 0 and char in ",)]}":
            return
        depth += 1 if char in "[({" else -1
        if depth > DEPTH:
            break
        source.pos += 1
        left -= 1
    raise Malformed


def _string(source: Source, quote: str, limit: int) -> Steps[int]:
    """Take a quoted string; returns its length. Too long or unclosed is Malformed."""
    if (yield from source.accept(quote * 3)):
        quote *= 3
    else:
        source.pos += 1
    taken = len(quote)
    while taken < limit:
        taken += len((yield from source.run(_BODY, limit - taken)))
        if (yield from source.accept(quote)):
            return taken + len(quote)
        char = yield from source.peek()
        if not char or (char == "\n" and len(quote) == 1):
            break
        source.pos += 1
        taken += 1
        if char == "\\":
            yield from source.peek()
            source.pos += 0 if source.ended else 1
            taken += 1
    raise Malformed


class _Reader:
    """One pass over a complete text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0

    def value(self, depth: int) -> object:
        kind, token = self._token()
        if kind == "quote":
            return self._string(token)
        if kind == "number":
            return _number(token)
        if kind == "word" and token in _WORDS:
            return _WORDS[token]
        if depth and token in _CLOSER:
            return self._items(_CLOSER[token], depth - 1)
        if depth and token == "{":
            return self._members(depth - 1)
        raise Malformed

    def _items(self, closer: str, depth: int) -> list[object]:
        """The rest of a list or tuple; `(x)` is x to Python but never an argument on its own."""
        items: list[object] = []
        while not self._accept(closer):
            items.append(self.value(depth))
            if not self._accept(","):
                self._expect(closer)
                break
        return items

    def _members(self, depth: int) -> dict[str, object]:
        members: dict[str, object] = {}
        while not self._accept("}"):
            key = self.value(0)
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise Malformed
            self._expect(":")
            members[str(key)] = self.value(depth)
            if not self._accept(","):
                self._expect("}")
                break
        return members

    def _token(self) -> tuple[str, str]:
        found = _TOKEN.match(self.text, self.pos)
        if not found or not found.lastgroup:
            raise Malformed
        self.pos = found.end()
        return found.lastgroup, found.group(found.lastgroup)

    def _accept(self, mark: str) -> bool:
        found = _TOKEN.match(self.text, self.pos)
        if found and found.group("mark") == mark:
            self.pos = found.end()
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            raise Malformed

    def _string(self, quote: str) -> str:
        parts: list[str] = []
        while True:
            if found := _BODY.match(self.text, self.pos):
                parts.append(found.group())
                self.pos = found.end()
            if self.text.startswith(quote, self.pos):
                self.pos += len(quote)
                return encodable("".join(parts))
            char = self.text[self.pos : self.pos + 1]
            if not char or (char == "\n" and len(quote) == 1):
                raise Malformed
            self.pos += 1
            parts.append(self._escape() if char == "\\" else char)

    def _escape(self) -> str:
        """After the backslash. An escape that Python does not know stays as written."""
        char = self.text[self.pos : self.pos + 1]
        if octal := _OCTAL.match(self.text, self.pos):
            self.pos = octal.end()
            return chr(int(octal.group(), 8))
        self.pos += 1
        if char in _HEX_ESCAPES:
            return self._hex(_HEX_ESCAPES[char])
        return _ESCAPES.get(char, "\\" + char)

    def _hex(self, width: int) -> str:
        found = _HEX.match(self.text, self.pos, min(len(self.text), self.pos + width))
        if not found or len(found.group()) != width or int(found.group(), 16) > 0x10FFFF:
            raise Malformed
        self.pos = found.end()
        return chr(int(found.group(), 16))


def _number(text: str) -> int | float:
    if len(text) > NUMBER_CHARS:
        raise Malformed
    if text.lstrip("-").isdigit():
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise Malformed
    return value
