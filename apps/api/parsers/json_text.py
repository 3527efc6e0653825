"""JSON (RFC 8259) read from a stream: exact, iterative, of bounded depth."""

from __future__ import annotations

import json
import re

from apps.api.parsers.source import Malformed, Source, Steps

DEPTH = 64

_SURROGATE = re.compile("[\ud800-\udfff]")
_SIMPLE_STRING = re.compile(r'"[^"\\\x00-\x1f]*+"')

# Whole scalars with the comma after them are skipped at the speed of `re`. The quantifiers are
# possessive (`*+`), so nothing is tried twice.
_WS = r"[ \t\n\r]*+"
_STRING = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"'
_NUMBER = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
_SCALAR = rf"(?:{_STRING}|{_NUMBER}|true|false|null|\{{{_WS}\}}|\[{_WS}\])"
_ITEMS = re.compile(rf"(?:{_WS}{_SCALAR}{_WS},)*+")
_MEMBERS = re.compile(rf"(?:{_WS}{_STRING}{_WS}:{_WS}{_SCALAR}{_WS},)*+")
_RUNS = {  # state inside a list or object -> what may be skipped, and the state after it
    "first_item": (_ITEMS, "item"),
    "item": (_ITEMS, "item"),
    "first_key": (_MEMBERS, "key"),
    "key": (_MEMBERS, "key"),
}

_SPACE = re.compile(r"[ \t\n\r]*+")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*+')


def _on(chars: str, state: str) -> dict[str, str]:
    return dict.fromkeys(chars, state)


_DIGITS = "0123456789"
_EXPONENT = _on("eE", "e")
_VALUE = {
    **{"{": "first_key", "[": "first_item", '"': "string", "-": "minus", "0": "zero"},
    **_on("123456789", "int"),
    **{"t": "~rue", "f": "~alse", "n": "~ull"},
}
_STRUCTURE = {
    "value": _VALUE,
    "item": _VALUE,
    "first_item": _VALUE | {"]": "close"},
    "key": {'"': "name"},
    "first_key": {'"': "name", "}": "close"},
    "colon": {":": "value"},
    "after_item": {",": "item", "]": "close"},
    "after_member": {",": "key", "}": "close"},
}
_NUMBERS = {
    "minus": {"0": "zero"} | _on("123456789", "int"),
    "zero": {".": "dot"} | _EXPONENT,
    "int": _on(_DIGITS, "int") | {".": "dot"} | _EXPONENT,
    "dot": _on(_DIGITS, "fraction"),
    "fraction": _on(_DIGITS, "fraction") | _EXPONENT,
    "e": _on("+-", "sign") | _on(_DIGITS, "exponent"),
    "sign": _on(_DIGITS, "exponent"),
    "exponent": _on(_DIGITS, "exponent"),
}
_NUMBER_MAY_END = frozenset(("zero", "int", "fraction", "exponent"))
_WORDS = {
    f"~{word[i:]}": {word[i]: f"~{word[i + 1 :]}" if word[i + 1 :] else "end"}
    for word in ("true", "false", "null")
    for i in range(1, len(word))
}


def _strings(state: str, after: str) -> dict[str, dict[str, str]]:
    """A string's states; `after` is where its closing quote leads."""
    hexes = {
        f"{state}-u{left}": _on(
            "0123456789abcdefABCDEF", f"{state}-u{left - 1}" if left > 1 else state
        )
        for left in (4, 3, 2, 1)
    }
    escape = _on('"\\/bfnrt', state) | {"u": f"{state}-u4"}
    return {state: {'"': after, "\\": f"{state}-escape"}, f"{state}-escape": escape, **hexes}


_MOVES = _STRUCTURE | _NUMBERS | _WORDS | _strings("string", "end") | _strings("name", "colon")
_SKIPS = {**dict.fromkeys(_STRUCTURE, _SPACE), "string": _PLAIN, "name": _PLAIN}
_OPENED = {"first_key": "after_member", "first_item": "after_item"}


class JsonScanner:
    """Says how far a text is one JSON value. A number on its own ends at the character after it."""

    def __init__(self) -> None:
        self.done = False
        self.bad = False
        self._state = "value"
        self._stack: list[str] = []  # the state after a value of each open list or object

    def scan(self, text: str, pos: int) -> int:
        """Position after the last character that fits; sets `done` or `bad` there."""
        while pos < len(text) and not (self.done or self.bad):
            state = self._state
            run = _RUNS.get(state)
            if run and (found := run[0].match(text, pos)) and found.end() > pos:
                self._state, pos = run[1], found.end()
                continue
            if (skip := _SKIPS.get(state)) and (found := skip.match(text, pos)):
                pos = found.end()
                if pos == len(text):
                    break
            pos += self._take(text[pos])
        return pos

    def _take(self, char: str) -> bool:
        """Go on with one character; False when it belongs to what follows, or to nothing."""
        state = _MOVES[self._state].get(char)
        if state == "end":
            self._end_value()
        elif state == "close":
            self._stack.pop()
            self._end_value()
        elif state is not None and (state not in _OPENED or self._open(state)):
            self._state = state
        elif state is None and self._state in _NUMBER_MAY_END:
            self._end_value()
            return False
        else:
            self.bad = True
        return not self.bad

    def _open(self, state: str) -> bool:
        if len(self._stack) == DEPTH:
            return False
        self._stack.append(_OPENED[state])
        return True

    def _end_value(self) -> None:
        self.done = not self._stack
        self._state = self._stack[-1] if self._stack else "value"


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
    if simple := source.accept_now(_SIMPLE_STRING):
        return encodable(simple[1:-1])
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
