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

    @property
    def passes(self) -> bool:
        """Whether all further text is content as it stands."""


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
        """`caller` reads what `thinker` calls content; without `parallel` only the first
        complete call is shown."""
        self.keeps = frozenset(keeps)
        """Special tokens that the detokeniser must leave in the text."""
        self._thinker = thinker
        self._caller = caller
        self._parallel = parallel
        self._num_calls = 0
        self._hides = False  # the call under way is one too many

    @property
    def thinks(self) -> bool:
        """Whether reasoning is told apart at all."""
        return self._thinker is not None

    @property
    def passes(self) -> bool:
        """Whether all further text is content as it stands, so that nothing need be pushed."""
        return self._caller is None and (self._thinker is None or self._thinker.passes)

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
        return self._shown(pieces)

    def finish(self) -> list[Piece]:
        pieces = self._after_thinking(self._thinker.finish()) if self._thinker else []
        last = self._caller.finish() if self._caller else []
        return self._shown([*pieces, *last])

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

    def _shown(self, pieces: list[Piece]) -> list[Piece]:
        """Count the calls; one too many is hidden, unless it breaks: then its text is content."""
        if not any(isinstance(piece, _OF_A_CALL) for piece in pieces):
            return pieces
        out: list[Piece] = []
        for piece in pieces:
            match piece:
                case CallStart():
                    self._hides = not self._parallel and self._num_calls > 0
                    self._num_calls += not self._hides
                case CallBroken(_, text) if self._hides:
                    out.append(Content(text))
                case CallBroken():
                    self._num_calls -= 1
            if not (self._hides and isinstance(piece, _OF_A_CALL)):
                out.append(piece)
        return out
