"""One answer's way from text to pieces: reasoning first, then tool calls in what follows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from apps.api.parsers.pieces import CallArguments, CallBroken, CallStart, Content, Piece

_OF_A_CALL = (CallStart, CallArguments, CallBroken)


class Parser(Protocol):
    """State of one answer. Splitting the text differently changes only where pieces are cut."""

    def push(self, text: str) -> list[Piece]:
        """Pieces that are certain after this chunk."""

    def finish(self) -> list[Piece]:
        """The last pieces; nothing may be pushed afterwards."""


class ThinkingParser(Parser, Protocol):
    """A parser that tells reasoning from the rest."""

    @property
    def reasoning(self) -> bool:
        """Whether the text read so far ends inside the reasoning, or may still begin it."""


class Pipeline:
    """A parser made of two. Without any, all text is content."""

    def __init__(
        self,
        thinker: ThinkingParser | None = None,
        caller: Parser | None = None,
        *,
        parallel: bool = True,
        keeps: Iterable[str] = (),
    ) -> None:
        """`caller` reads what `thinker` calls content; without `parallel` only the first call
        is shown."""
        self.keeps = frozenset(keeps)
        """Special tokens that the detokeniser must leave in the text."""
        self._thinker = thinker
        self._caller = caller
        self._parallel = parallel
        self._num_calls = 0

    @property
    def reasoning(self) -> bool:
        return self._thinker is not None and self._thinker.reasoning

    @property
    def num_calls(self) -> int:
        """Calls begun and not broken; after `finish` these are the complete ones."""
        return self._num_calls

    def push(self, text: str) -> list[Piece]:
        if self._thinker is not None:
            pieces = self._after_thinking(self._thinker.push(text))
        elif self._caller is not None:
            pieces = self._caller.push(text)
        else:
            pieces = [Content(text)] if text else []
        return [piece for piece in pieces if self._shows(piece)]

    def finish(self) -> list[Piece]:
        pieces = self._after_thinking(self._thinker.finish()) if self._thinker else []
        last = self._caller.finish() if self._caller else []
        return [piece for piece in (*pieces, *last) if self._shows(piece)]

    def parse_whole(self, text: str) -> list[Piece]:
        """All pieces of a whole text."""
        return self.push(text) + self.finish()

    def _after_thinking(self, pieces: list[Piece]) -> list[Piece]:
        if self._caller is None:
            return pieces
        out: list[Piece] = []
        for piece in pieces:
            out += self._caller.push(piece.text) if isinstance(piece, Content) else [piece]
        return out

    def _shows(self, piece: Piece) -> bool:
        """Count the calls; a second one is hidden when calls may not be parallel."""
        if isinstance(piece, _OF_A_CALL):
            if piece.index and not self._parallel:
                return False
            self._num_calls += isinstance(piece, CallStart)
            self._num_calls -= isinstance(piece, CallBroken)
        return True
