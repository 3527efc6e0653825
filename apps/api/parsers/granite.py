"""Granite 3: `<|tool_call|>[{"name": …, "arguments": {…}}, …]`, in 3.1 `<tool_call>[…]`.

Granite 4 writes one object in `<tool_call>…</tool_call>`; the 20B function-calling model writes
`<function_call> {…}` for each call.
"""

from __future__ import annotations

from typing import ClassVar

from apps.api.parsers.call_object import call_list
from apps.api.parsers.source import Markers, Steps
from apps.api.parsers.steps import ToolSteps

OPENINGS = ("<|tool_call|>", "<tool_call>", "<function_call>")


class GraniteParser(ToolSteps):
    keeps: ClassVar[tuple[str, ...]] = (*OPENINGS, "</tool_call>")
    _markers = Markers(*OPENINGS)

    def steps(self) -> Steps[None]:
        while marker := (yield from self.content_until(self._markers)):
            yield from self.attempt(marker, self._calls())
        self.end_content()

    def _calls(self) -> Steps[None]:
        yield from call_list(self)
        yield from self.source.space()
        yield from self.source.accept("</tool_call>")
