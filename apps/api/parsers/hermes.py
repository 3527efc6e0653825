"""Hermes 2/3, Qwen2.5, Qwen3: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, repeated."""

from __future__ import annotations

from typing import ClassVar

from apps.api.parsers.call_object import CallObject
from apps.api.parsers.source import Malformed, Markers, Steps
from apps.api.parsers.steps import ToolSteps

CLOSE = "</tool_call>"


class HermesParser(ToolSteps):
    """The closing tag, and the brace before it, may be missing once the arguments are whole."""

    keeps: ClassVar[tuple[str, ...]] = ("<tool_call>", CLOSE)
    _markers = Markers("<tool_call>")

    def steps(self) -> Steps[None]:
        while marker := (yield from self.content_until(self._markers)):
            yield from self.attempt(marker, self._call())
        self.end_content()

    def _call(self) -> Steps[None]:
        calls_before = self.calls_told
        try:
            yield from CallObject(self).read()
        except Malformed:
            if self.calls_told == calls_before:
                raise
        yield from self.source.space()
        if not self.source.ended:
            yield from self.source.expect(CLOSE)
