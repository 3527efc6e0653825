"""DeepSeek V3, R1 and V3.1, which share the tokens and differ inside a call:

V3, R1   <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\\n```json\\n{…}\\n```<｜tool▁call▁end｜>
V3.1     <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>

with `<｜tool▁calls▁begin｜>` before the first call and `<｜tool▁calls▁end｜>` after the last.
"""

from __future__ import annotations

import re
from typing import ClassVar

from apps.api.parsers.call_object import is_name, stream_arguments
from apps.api.parsers.source import Malformed, Markers, Steps
from apps.api.parsers.steps import NAME_CHARS, ToolSteps

CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL_BEGIN, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"

_NAME = re.compile(r"[^\s<>`{}]*")


class DeepSeekV3Parser(ToolSteps):
    keeps: ClassVar[tuple[str, ...]] = (CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEPARATOR)
    _markers = Markers(CALLS_BEGIN, CALL_BEGIN)

    def steps(self) -> Steps[None]:
        while marker := (yield from self.content_until(self._markers)):
            yield from self.attempt(marker, self._calls(begun=marker == CALL_BEGIN))
        self.end_content()

    def _calls(self, begun: bool) -> Steps[None]:
        source = self.source
        if not begun:
            yield from source.space()
            yield from source.expect(CALL_BEGIN)
        while True:
            yield from self._call()
            yield from source.space()
            if not (yield from source.accept(CALL_BEGIN)):
                break
        yield from source.accept(CALLS_END)

    def _call(self) -> Steps[None]:
        source = self.source
        name = yield from source.run(_NAME, NAME_CHARS)
        yield from source.expect(SEPARATOR)
        fenced = (yield from source.peek()) not in ("{", "")
        if fenced:
            name = yield from source.run(_NAME, NAME_CHARS)
            yield from self._open_fence()
        if not is_name(name):
            raise Malformed
        yield from stream_arguments(self, name)
        yield from source.space()
        if fenced:
            yield from source.accept("```")
            yield from source.space()
        yield from source.accept(CALL_END)

    def _open_fence(self) -> Steps[None]:
        yield from self.source.space()
        yield from self.source.expect("```")
        yield from self.source.accept("json")
