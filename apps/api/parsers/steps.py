"""The incremental parser that all formats share: one generator an answer, resumed by each chunk."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from apps.api.parsers.pieces import (
    CallArguments,
    CallBroken,
    CallStart,
    Content,
    Piece,
    Reasoning,
    merged,
)
from apps.api.parsers.source import Malformed, Markers, Source, Steps

HELD_SPACE = 64  # characters of white space kept back, because a marker may follow and swallow it
NAME_CHARS = 256


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the request offers; `parameters` is its JSON schema."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


class TrimmedText:
    """Running text whose white space at the end is held back until more text follows."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> str:
        """The text that can be shown now."""
        if not self._held and text and not text[-1].isspace():
            return text
        text = self._held + text
        cut = max(len(text.rstrip()), len(text) - HELD_SPACE)
        self._held = text[cut:]
        return text[:cut]

    def drop(self) -> str:
        """Forget the white space at the end; returns it."""
        held, self._held = self._held, ""
        return held


class StepParser(ABC):
    """Runs `steps()`, which reads `source` and emits pieces, as far as the text allows."""

    def __init__(self) -> None:
        self.source = Source()
        self._out: list[Piece] = []
        self._running = self.steps()

    @abstractmethod
    def steps(self) -> Steps[None]:
        """Read the whole text; returns only at its end."""

    def push(self, text: str) -> list[Piece]:
        """Pieces that are certain after this chunk."""
        self.source.feed(text)
        return self._resume()

    def finish(self) -> list[Piece]:
        """The last pieces; nothing may be pushed afterwards."""
        self.source.close()
        return self._resume()

    def parse_whole(self, text: str) -> list[Piece]:
        """All pieces of a whole text."""
        return self.push(text) + self.finish()

    def emit(self, piece: Piece) -> None:
        self._out.append(piece)

    def emit_reasoning(self, text: str) -> None:
        if text:
            self.emit(Reasoning(text))

    def emit_content(self, text: str) -> None:
        if text:
            self.emit(Content(text))

    def _resume(self) -> list[Piece]:
        next(self._running, None)
        self.source.settle()
        out, self._out = self._out, []
        return merged(out)


class ToolSteps(StepParser):
    """A parser that finds calls. White space around a call is no content."""

    keeps: ClassVar[tuple[str, ...]] = ()
    """Special tokens that the detokeniser must leave in the text for this parser."""

    def __init__(self, tools: Sequence[Tool] = (), new_id: Callable[[], str] = new_call_id) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self._new_id = new_id
        self._trimmed = TrimmedText()
        self._after_call = False
        self.calls_told = 0  # complete ones
        self._index = -1
        self._open = False
        self._raw: list[str] = []  # source text since the last complete call of an attempt
        super().__init__()

    def content(self, text: str) -> None:
        if shown := self._trimmed.add(text):
            self._after_call = False
            self.emit_content(shown)

    def content_until(self, markers: Markers) -> Steps[str]:
        """Pass content on up to a marker, which is taken; "" at the end of the text."""
        while True:
            plain, marker = self.source.scan(markers)
            self.content(plain)
            if marker or self.source.ended:
                return marker
            yield

    def end_content(self) -> None:
        """The text is over: white space at its end is content unless a call came last."""
        held = self._trimmed.drop()
        if not self._after_call:
            self.emit_content(held)

    def attempt(self, opening: str, form: Steps[None]) -> Steps[None]:
        """Read calls with `form`; what turns out malformed becomes content as it was written."""
        self._raw[:] = [self._trimmed.drop(), opening]
        self.source.tap(self._keep)
        try:
            yield from form
        except Malformed:
            self.source.untap(self._keep)
            self._give_up("".join(self._raw))
        else:
            self.source.untap(self._keep)

    def start(self, name: str, call_id: str | None = None) -> None:
        self._index += 1
        self._open = True
        self.emit(CallStart(self._index, call_id or self._new_id(), name))

    def arguments(self, fragment: str) -> None:
        if fragment:
            self.emit(CallArguments(self._index, fragment))

    def complete(self) -> None:
        """The call's arguments are whole: later trouble no longer touches it."""
        self.calls_told += 1
        self._open = False
        self._after_call = True
        self.past_call()

    def past_call(self) -> None:
        """What was taken so far belongs to complete calls: it is no content if the rest fails."""
        self.source.untap(self._keep)
        self._raw.clear()
        self.source.tap(self._keep)

    def whole(self, name: str, arguments: str, call_id: str | None = None) -> None:
        """A call whose arguments are known at once."""
        self.start(name, call_id)
        self.arguments(arguments)
        self.complete()

    def _keep(self, text: str) -> None:
        self._raw.append(text)

    def _give_up(self, text: str) -> None:
        if self._open:
            self._open = False
            self._after_call = False
            self.emit(CallBroken(self._index, text))
        else:
            self.content(text)
