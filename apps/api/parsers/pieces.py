"""What a parser says about a model's text, and how the pieces add up to one message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Content:
    """Text for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text of the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call begins; id and name are said once, here."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The next part of a call's arguments; joined they are one JSON object."""

    index: int
    json_fragment: str


@dataclass(frozen=True, slots=True)
class CallBroken:
    """A begun call turned out malformed or was cut off: it is no call, `text` is its whole source.

    A stream cannot take back what it has sent, so its client keeps arguments that do not parse.
    `text` is content in both cases, and the call does not count for `finish_reason`.
    """

    index: int
    text: str


Piece: TypeAlias = Content | Reasoning | CallStart | CallArguments | CallBroken
_OF_A_CALL = (CallStart, CallArguments, CallBroken)


@dataclass(frozen=True, slots=True)
class Call:
    """A complete call; `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """A whole answer. Empty strings mean that the model wrote none of that kind."""

    content: str
    reasoning: str
    calls: tuple[Call, ...]


def collect(pieces: Iterable[Piece]) -> Message:
    """Add the pieces up. A broken call is left out and its source text joins the content."""
    content: list[str] = []
    reasoning: list[str] = []
    started: dict[int, CallStart] = {}
    arguments: dict[int, list[str]] = {}
    for piece in pieces:
        match piece:
            case Content(text):
                content.append(text)
            case Reasoning(text):
                reasoning.append(text)
            case CallStart(index):
                started[index], arguments[index] = piece, []
            case CallArguments(index, fragment):
                arguments[index].append(fragment)
            case CallBroken(index, text):
                del started[index]
                content.append(text)
    calls = tuple(Call(start.id, start.name, "".join(arguments[i])) for i, start in started.items())
    return Message("".join(content), "".join(reasoning), calls)


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The same pieces with neighbours of one kind (and one call) joined. Linear."""
    pieces = list(pieces)
    if len(pieces) < 2:
        return pieces
    out: list[Piece] = []
    for _, group in groupby(pieces, key=_joins_with):
        run = list(group)
        out.append(_joined(run) if len(run) > 1 else run[0])
    return out


def _joins_with(piece: Piece) -> object:
    """Equal for neighbours that are one piece; the start and the end of a call stay alone."""
    return type(piece), piece.index if isinstance(piece, _OF_A_CALL) else None


def _joined(run: list[Piece]) -> Piece:
    match run[0]:
        case Content():
            return Content("".join(p.text for p in run if isinstance(p, Content)))
        case Reasoning():
            return Reasoning("".join(p.text for p in run if isinstance(p, Reasoning)))
        case CallArguments(index):
            fragments = (p.json_fragment for p in run if isinstance(p, CallArguments))
            return CallArguments(index, "".join(fragments))
    raise AssertionError(f"{run[0]} comes once")
