"""Text that arrives in chunks, read once from left to right.

A reader is a generator: `yield` means "I need more text". What it has taken never comes back, what
it looks ahead at is bounded by a marker's length, so the work is linear however the text is cut.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
Sink: TypeAlias = Callable[[str], object]

SPACE = re.compile(r"\s*")
_MARKS = {char: re.compile(rf"\s*{re.escape(char)}\s*") for char in "{}[]:,;"}


class Malformed(Exception):
    """The text does not have the form that a reader expects. Never leaves this package."""


class Markers:
    """Fixed strings to find in a stream. None may be contained in another."""

    def __init__(self, *markers: str) -> None:
        self._markers = markers
        self._pattern = re.compile("|".join(map(re.escape, markers)))
        self._firsts = frozenset(marker[0] for marker in markers)
        self._longest = max(map(len, markers))

    def search(self, text: str, pos: int) -> re.Match[str] | None:
        return self._pattern.search(text, pos)

    def begun_at(self, text: str, pos: int) -> int:
        """Where an unfinished marker starts at the end of the text; the end if there is none."""
        first = max(pos, len(text) - self._longest + 1)
        if self._firsts.isdisjoint(text[first:]):
            return len(text)
        for start in range(first, len(text)):
            if text[start] in self._firsts:
                tail = text[start:]
                if any(marker.startswith(tail) for marker in self._markers):
                    return start
        return len(text)


class Source:
    """The unread text, and sinks that want to see what is taken from it."""

    def __init__(self) -> None:
        self.text = ""
        self.pos = 0
        self._closed = False
        self._taps: dict[Sink, int] = {}  # sink -> first position it has not seen

    def feed(self, text: str) -> None:
        self.text += text  # settle() has cut it to the bounded look-ahead

    def close(self) -> None:
        self._closed = True

    def settle(self) -> None:
        """Show the sinks what was taken and forget it."""
        for sink, start in self._taps.items():
            self._taps[sink] = 0
            if start < self.pos:
                sink(self.text[start : self.pos])
        self.text = self.text[self.pos :]
        self.pos = 0

    def tap(self, sink: Sink) -> None:
        """From here on `sink` gets the text that is taken, in parts."""
        self._taps[sink] = self.pos

    def untap(self, sink: Sink) -> None:
        start = self._taps.pop(sink)
        if start < self.pos:
            sink(self.text[start : self.pos])

    @property
    def dry(self) -> bool:
        """All text that came so far has been taken."""
        return self.pos == len(self.text)

    @property
    def ended(self) -> bool:
        return self._closed and self.dry

    def peek(self) -> Steps[str]:
        """The next character, not taken; "" at the end of the text."""
        while self.dry and not self._closed:
            yield
        return self.text[self.pos : self.pos + 1]

    def take_rest(self) -> str:
        """All that came so far."""
        taken, self.pos = self.text[self.pos :], len(self.text)
        return taken

    def run(self, pattern: re.Pattern[str], limit: int = sys.maxsize) -> Steps[str]:
        """Take a run of a character class (a pattern like `[…]*`), `limit` characters at most."""
        parts = []
        while True:
            if found := pattern.match(self.text, self.pos, min(len(self.text), self.pos + limit)):
                parts.append(found.group())
                self.pos = found.end()
                limit -= len(found.group())
            if not limit or not self.dry or self._closed:
                return "".join(parts)
            yield

    def space(self) -> Steps[str]:
        """Take white space."""
        return self.run(SPACE)

    def at(self, literal: str) -> Steps[bool]:
        """Whether the text goes on with `literal`; takes nothing."""
        while True:
            here = self.text[self.pos : self.pos + len(literal)]
            if here == literal:
                return True
            if self._closed or not literal.startswith(here):
                return False
            yield

    def accept(self, literal: str) -> Steps[bool]:
        """Take `literal` when the text goes on with it."""
        if not self.text.startswith(literal, self.pos) and not (yield from self.at(literal)):
            return False
        self.pos += len(literal)
        return True

    def accept_mark(self, char: str) -> Steps[bool]:
        """Take one character with the white space before and after it, else only the former."""
        quick = _MARKS[char].match(self.text, self.pos)
        if quick and quick.end() < len(self.text):
            self.pos = quick.end()
            return True
        if self.dry or self.text[self.pos].isspace():
            yield from self.space()
        if not (yield from self.accept(char)):
            return False
        yield from self.space()
        return True

    def accept_now(self, pattern: re.Pattern[str]) -> str:
        """Take what matches in the text that is here; "" when it is not here yet or not so."""
        found = pattern.match(self.text, self.pos)
        if not found:
            return ""
        self.pos = found.end()
        return found.group()

    def expect(self, literal: str) -> Steps[None]:
        """Take `literal`; Malformed when something else comes."""
        if not (yield from self.accept(literal)):
            raise Malformed

    def scan(self, markers: Markers) -> tuple[str, str]:
        """Take text up to and with the next marker: (text before, marker).

        The marker is "" when none came yet; a marker that may have begun is then left unread.
        """
        start = self.pos
        if found := markers.search(self.text, start):
            self.pos = found.end()
            return self.text[start : found.start()], found.group()
        self.pos = len(self.text) if self._closed else markers.begun_at(self.text, start)
        return self.text[start : self.pos], ""
