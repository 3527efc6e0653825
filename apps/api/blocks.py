"""An answer as blocks that follow one another: reasoning, text and calls.

The Responses and the Messages API both tell an answer this way; their own files give the blocks
their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from apps.api.logprobs import Candidates
from apps.api.parsers import CallArguments, CallBroken, CallStart, Content, Piece, Reasoning


class Kind(Enum):
    REASONING = "reasoning"
    TEXT = "text"
    CALL = "call"


@dataclass(slots=True, eq=False)
class Block:
    """One block, growing. `parts` joined is its text, or the arguments of its call."""

    index: int
    kind: Kind
    call_id: str = ""
    name: str = ""
    parts: list[str] = field(default_factory=list)
    rows: list[Candidates] = field(default_factory=list)  # log-probabilities of a text's tokens
    broken: bool = False  # a call that turned out to be none: its source follows as text

    @property
    def text(self) -> str:
        return "".join(self.parts)


@dataclass(frozen=True, slots=True)
class Begun:
    block: Block


@dataclass(frozen=True, slots=True)
class Grown:
    block: Block
    text: str
    rows: list[Candidates]


@dataclass(frozen=True, slots=True)
class Ended:
    block: Block


BlockEvent: TypeAlias = Begun | Grown | Ended


class Blocks:
    """Collects the blocks of one answer and tells what changed."""

    def __init__(self, *, shows_reasoning: bool) -> None:
        self.all: list[Block] = []
        self._shows_reasoning = shows_reasoning
        self._open: Block | None = None

    def take(self, pieces: Iterable[Piece], rows: list[Candidates]) -> list[BlockEvent]:
        """Add pieces; `rows` are the scores of the tokens they came from."""
        out: list[BlockEvent] = []
        for piece in _lasting(list(pieces)):
            match piece:
                case Content(text):
                    self._grow(out, Kind.TEXT, text, rows)
                    rows = []
                case Reasoning(text) if self._shows_reasoning:
                    self._grow(out, Kind.REASONING, text, [])
                case CallStart(_, call_id, name):
                    self._begin(out, Kind.CALL, call_id, name)
                case CallArguments(_, fragment):
                    self._grow(out, Kind.CALL, fragment, [])
                case CallBroken(_, text):
                    if self._open is not None:
                        self._open.broken = True
                    self._grow(out, Kind.TEXT, text, [])
        return out

    def finish(self) -> list[BlockEvent]:
        """Nothing more comes. An answer without anything is an empty text."""
        out: list[BlockEvent] = []
        if not self.all:
            self._begin(out, Kind.TEXT)
        self._end(out)
        return out

    def _begin(self, out: list[BlockEvent], kind: Kind, call_id: str = "", name: str = "") -> None:
        self._end(out)
        self._open = Block(len(self.all), kind, call_id, name)
        self.all.append(self._open)
        out.append(Begun(self._open))

    def _grow(self, out: list[BlockEvent], kind: Kind, text: str, rows: list[Candidates]) -> None:
        if self._open is None or self._open.kind is not kind:
            self._begin(out, kind)
        assert self._open is not None
        self._open.parts.append(text)
        self._open.rows += rows
        out.append(Grown(self._open, text, rows))

    def _end(self, out: list[BlockEvent]) -> None:
        if self._open is not None:
            out.append(Ended(self._open))
            self._open = None


def _lasting(pieces: list[Piece]) -> list[Piece]:
    """Without calls that begin and break within the same pieces: nobody need hear of those."""
    broken = {piece.index for piece in pieces if isinstance(piece, CallBroken)}
    begun = {piece.index for piece in pieces if isinstance(piece, CallStart)}
    vain = broken & begun
    if not vain:
        return pieces
    out: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, CallBroken) and piece.index in vain:
            out.append(Content(piece.text))
        elif not (isinstance(piece, CallStart | CallArguments) and piece.index in vain):
            out.append(piece)
    return out
