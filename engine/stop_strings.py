"""Finding stop strings in growing text, across token borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class TextStream(Protocol):
    """The part of `IncrementalDetokenizer` needed here."""

    def push(self, ids: list[int]) -> str: ...


@dataclass(frozen=True, slots=True)
class StopMatch:
    """The stop string found, and how many characters of the text to show."""

    stop: str
    keep_chars: int


class StopMatcher:
    """Follows the text of one choice. Only what can still matter is kept of it."""

    def __init__(self, stops: list[str], text: TextStream, *, include_stop: bool) -> None:
        self._stops = stops
        self._text = text
        self._include_stop = include_stop
        self._overlap = max(map(len, stops)) - 1  # a match may begin so far back
        self._tail = ""  # the last characters, at most `_overlap` after each push
        self._num_chars = 0

    def push(self, token_id: int, *, may_stop: bool) -> StopMatch | None:
        """Add a token. While `may_stop` is false (min_tokens), text passes unmatched."""
        piece = self._text.push([token_id])
        if not may_stop:
            self._num_chars += len(piece)
            self._tail = ""
            return None
        window = self._tail + piece
        start_chars = self._num_chars - len(self._tail)
        self._num_chars += len(piece)
        found = self._first_match(window)
        self._tail = window[-self._overlap :] if self._overlap else ""
        if found is None:
            return None
        end, begin, stop = found
        return StopMatch(stop, start_chars + (end if self._include_stop else begin))

    def safe_chars(self) -> int:
        """Characters that no stop string can take back any more."""
        for held in range(len(self._tail), 0, -1):
            if any(stop.startswith(self._tail[-held:]) for stop in self._stops):
                return self._num_chars - held
        return self._num_chars

    def _first_match(self, window: str) -> tuple[int, int, str] | None:
        """The match that completes first, as if text came one character at a time."""
        found = [
            (begin + len(stop), begin, stop)
            for stop in self._stops
            if (begin := window.find(stop)) >= 0
        ]
        return min(found) if found else None
