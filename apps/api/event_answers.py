"""Answers told as typed events: `event: NAME`, then the event as JSON."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import orjson

from apps.api.blocks import BlockEvent, Blocks
from apps.api.chat_answers import ChatAnswer
from apps.api.parsers import Content
from engine.errors import PagodaError
from engine.messages import ChoiceDelta, Counts, Delta


def event(kind: str, fields: dict[str, Any]) -> bytes:
    """One server-sent event whose data names its type, too."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | fields))


class EventAnswer(ChatAnswer):
    """One choice of a chat as a sequence of blocks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.blocks = Blocks(shows_reasoning=self._shows_reasoning)
        self.finish_reason = ""
        self.stop_reason: str | int | None = None

    def chunks(self, delta: Delta) -> bytes:
        events = [e for choice in self._choices(delta) for e in self._read(choice)]
        return b"".join(map(self.render, events))

    def whole(self, deltas: Iterable[Delta], counts: Counts) -> bytes:
        for delta in deltas:
            for choice in delta.choices:
                self._read(choice)
        return orjson.dumps(self.finished(counts))

    def _read(self, choice: ChoiceDelta) -> list[BlockEvent]:
        if (reader := self._parsing[0]) is not None:
            pieces = self._parse(reader, choice)
        else:
            text = self._texts[0].take(choice)
            pieces = [Content(text)] if text else []
        events = self.blocks.take(pieces, choice.logprobs or [])
        if choice.finish is not None:
            self.finish_reason, self.stop_reason = self._finish(choice), choice.stop_reason
            events += self.blocks.finish()
        return events

    @abstractmethod
    def render(self, change: BlockEvent) -> bytes:
        """The events that tell one change."""

    @abstractmethod
    def finished(self, counts: Counts) -> dict[str, Any]:
        """The whole answer as one object."""

    @abstractmethod
    def failure(self, error: PagodaError) -> bytes:
        """The event that ends a stream that has begun and cannot go on."""
