"""JSON (RFC 8259) read from a stream: exact, iterative, of bounded depth."""

from __future__ import annotations

import json
import re

from apps.api.parsers.source import Malformed, Source, Steps

DEPTH = 64

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = "0123456789"
_HEX = frozenset("0123456789abcdefABCDEF")
_WORDS = {"t": "true", "f": "false", "n": "null"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_CLOSER = {"{": "}", "[": "]"}

# number state -> (characters that lead on, next state); RFC 8259 section 6
_NUMBER: dict[str, tuple[tuple[str, str], ...]] = {
    "minus": (("0", "zero"), ("123456789", "int")),
    "zero": ((".", "dot"), ("eE", "e")),
    "int": ((_DIGITS, "int"), (".", "dot"), ("eE", "e")),
    "dot": ((_DIGITS, "fraction"),),
    "fraction": ((_DIGITS, "fraction"), ("eE", "e")),
    "e": (("+-", "sign"), (_DIGITS, "exponent")),
    "sign": ((_DIGITS, "exponent"),),
    "exponent": ((_DIGITS, "exponent"),),
}
_NUMBER_MAY_END = frozenset(("zero", "int", "fraction", "exponent"))


class JsonScanner:
    """Says how far a text is one JSON value. A scalar number ends at the character after it."""

    def __init__(self) -> None:
        self.done = False
        self.bad = False
        self._stack: list[str] = []  # closers that are due
        self._state = "value"
        self._in_key = False
        self._left = ""  # of a word; four characters for the digits of an escape

    def scan(self, text: str, pos: int) -> int:
        """Position after the last character that fits; sets `done` or `bad` there."""
        while pos < len(text) and not (self.done or self.bad):
            if self._state == "string":
                pos = self._string(text, pos)
            elif self._state in _NUMBER:
                pos += self._number(text[pos])
            elif self._state == "word":
                pos += self._word(text[pos])
            elif self._state in ("escape", "hex"):
                pos += self._escape(text[pos])
            else:
                pos = self._space_then_structure(text, pos)
        return pos

    def _space_then_structure(self, text: str, pos: int) -> int:
        found = _SPACE.match(text, pos)
        pos = found.end() if found else pos
        return pos + self._structure(text[pos]) if pos < len(text) else pos

    def _structure(self, char: str) -> bool:
        """A character between scalars; True when it fits."""
        state = self._state
        if state == "after" and char == ",":
            self._state = "key" if self._stack[-1] == "}" else "value"
        elif state in ("after", "first_value", "first_key") and char == self._stack[-1]:
            self._stack.pop()
            self._end_value()
        elif state in ("key", "first_key") and char == '"':
            self._state, self._in_key = "string", True
        elif state == "colon" and char == ":":
            self._state = "value"
        elif state in ("value", "first_value"):
            return self._begin_value(char)
        else:
            self.bad = True
        return not self.bad

    def _begin_value(self, char: str) -> bool:
        if char in "{[" and len(self._stack) < DEPTH:
            self._stack.append(_CLOSER[char])
            self._state = "first_key" if char == "{" else "first_value"
        elif char == '"':
            self._state = "string"
        elif char in _WORDS:
            self._state, self._left = "word", _WORDS[char][1:]
        elif char == "-":
            self._state = "minus"
        elif char in _DIGITS:
            self._state = "zero" if char == "0" else "int"
        else:
            self.bad = True
        return not self.bad

    def _end_value(self) -> None:
        self._state = "after"
        self.done = not self._stack

    def _string(self, text: str, pos: int) -> int:
        found = _PLAIN.match(text, pos)
        pos = found.end() if found else pos
        if pos == len(text):
            return pos
        if text[pos] == "\\":
            self._state = "escape"
        elif text[pos] != '"':
            self.bad = True
            return pos
        elif self._in_key:
            self._state, self._in_key = "colon", False
        else:
            self._end_value()
        return pos + 1

    def _escape(self, char: str) -> bool:
        if self._state == "hex" and char in _HEX:
            self._left = self._left[1:]
            self._state = "hex" if self._left else "string"
        elif self._state == "escape" and char == "u":
            self._state, self._left = "hex", "hhhh"
        elif self._state == "escape" and char in '"\\/bfnrt':
            self._state = "string"
        else:
            self.bad = True
        return not self.bad

    def _word(self, char: str) -> bool:
        if char != self._left[0]:
            self.bad = True
            return False
        self._left = self._left[1:]
        if not self._left:
            self._end_value()
        return True

    def _number(self, char: str) -> bool:
        for chars, following in _NUMBER[self._state]:
            if char in chars:
                self._state = following
                return True
        if self._state in _NUMBER_MAY_END:
            self._end_value()
        else:
            self.bad = True
        return False


def json_value(source: Source) -> Steps[None]:
    """Take one JSON value; Malformed at the first character that cannot go on with it."""
    scanner = JsonScanner()
    while True:
        source.pos = scanner.scan(source.text, source.pos)
        if scanner.done:
            return
        if scanner.bad or source.ended:
            raise Malformed
        yield


def json_captured(source: Source) -> Steps[str]:
    """Take one JSON value and return its text."""
    parts: list[str] = []
    source.tap(parts.append)
    try:
        yield from json_value(source)
    finally:
        source.untap(parts.append)
    return "".join(parts)


def json_string(source: Source) -> Steps[str]:
    """Take a JSON string and return what it says. Half of a surrogate pair is Malformed."""
    if (yield from source.peek()) != '"':
        raise Malformed
    return encodable(json.loads((yield from json_captured(source))))


def encodable(text: str) -> str:
    """The text itself; Malformed when escapes in it left what UTF-8 cannot carry."""
    if _SURROGATE.search(text):
        raise Malformed
    return text


def is_json(text: str, opening: str = "") -> bool:
    """Whether the text is exactly one JSON value, which begins with one of `opening` if given."""
    scanner = JsonScanner()
    text = text.strip(" \t\n\r")
    if opening and not text.startswith(tuple(opening)):
        return False
    end = scanner.scan(text + " ", 0)  # the space ends a number
    return scanner.done and end >= len(text)
