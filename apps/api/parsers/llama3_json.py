"""Llama 3.1–3.3: `{"name": …, "parameters": {…}}`, several split by `;`.

The answer begins with the object, or the object follows `<|python_tag|>`. As nothing else marks a
call, an object with other members, or with a name that is no offered tool, is content.
"""

from __future__ import annotations

from typing import ClassVar

from apps.api.parsers.call_object import ARGUMENT_KEYS, CallObject
from apps.api.parsers.source import Markers, Steps
from apps.api.parsers.steps import ToolSteps

TAG = "<|python_tag|>"
MEMBERS = frozenset(("name", "type", "id", *ARGUMENT_KEYS))


class Llama3JsonParser(ToolSteps):
    keeps: ClassVar[tuple[str, ...]] = (TAG,)
    _markers = Markers(TAG)

    def steps(self) -> Steps[None]:
        space = yield from self.source.space()
        self.content(space)
        if (yield from self.source.peek()) == "{":
            yield from self.attempt("", self._calls())
        while marker := (yield from self.content_until(self._markers)):
            yield from self.attempt(marker, self._calls())
        self.end_content()

    def _calls(self) -> Steps[None]:
        source = self.source
        while True:
            yield from CallObject(self, only=MEMBERS).read()
            yield from source.space()
            if not (yield from source.accept(";")):
                return
            yield from source.space()
            yield from source.accept(TAG)
