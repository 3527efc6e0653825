"""Llama 3.2 and 4: `[name(key="value", …), …]`, a list of calls with literal arguments.

The answer begins with the list, or the list follows `<|python_start|>`. Read as data, never
evaluated. Each argument is told when its literal is complete.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar

from apps.api.parsers.literals import literal_as_json, literal_text
from apps.api.parsers.source import Malformed, Markers, Steps
from apps.api.parsers.steps import NAME_CHARS, ToolSteps

START, END = "<|python_start|>", "<|python_end|>"
ARGUMENTS = 128

_NAME = re.compile(r"[\w.]*")
_KEY = re.compile(r"\w*")


class PythonicParser(ToolSteps):
    keeps: ClassVar[tuple[str, ...]] = (START, END)
    _markers = Markers(START)

    def steps(self) -> Steps[None]:
        space = yield from self.source.space()
        self.content(space)
        if (yield from self.source.peek()) == "[":
            yield from self.attempt("", self._calls())
        while marker := (yield from self.content_until(self._markers)):
            yield from self.attempt(marker, self._calls())
        self.end_content()

    def _calls(self) -> Steps[None]:
        source = self.source
        yield from source.space()
        yield from source.expect("[")
        while True:
            yield from source.space()
            yield from self._call()
            yield from source.space()
            if not (yield from source.accept(",")):
                break
        yield from source.expect("]")
        yield from source.accept(END)

    def _call(self) -> Steps[None]:
        source = self.source
        name = yield from self._read_name()
        yield from source.expect("(")
        for number in range(ARGUMENTS):
            yield from source.space()
            if (yield from source.accept(")")):
                self._end(name, number)
                return
            yield from self._argument(name, number)
            yield from source.space()
            if not (yield from source.accept(",")):
                break
        else:
            raise Malformed
        yield from source.expect(")")
        self._end(name, 1)

    def _read_name(self) -> Steps[str]:
        name = yield from self.source.run(_NAME, NAME_CHARS)
        if not all(part.isidentifier() for part in name.split(".")):
            raise Malformed
        if self.tools and name not in self.tools:
            raise Malformed
        return name

    def _argument(self, name: str, number: int) -> Steps[None]:
        source = self.source
        key = yield from source.run(_KEY, NAME_CHARS)
        yield from source.space()
        yield from source.expect("=")
        if not key.isidentifier():
            raise Malformed
        value = literal_as_json((yield from literal_text(source)))
        if number == 0:  # only now is it surely a call and not, say, a link in a text
            self.start(name)
        opening = ", " if number else "{"
        self.arguments(f"{opening}{json.dumps(key, ensure_ascii=False)}: {value}")

    def _end(self, name: str, num_arguments: int) -> None:
        if num_arguments == 0:
            self.start(name)
        self.arguments("}" if num_arguments else "{}")
        self.complete()
