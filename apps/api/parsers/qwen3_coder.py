"""Qwen3-Coder: values between tags, typed by the tool's JSON schema:

<tool_call>
<function=NAME>
<parameter=KEY>
VALUE
</parameter>
</function>
</tool_call>

One line break after the opening and one before the closing parameter tag belong to the form.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar

from apps.api.parsers.call_object import is_name
from apps.api.parsers.schema_values import parameter_types, typed_json
from apps.api.parsers.source import Malformed, Markers, Sink, Steps
from apps.api.parsers.steps import NAME_CHARS, ToolSteps

OPEN, CLOSE = "<tool_call>", "</tool_call>"
FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"

_NAME = re.compile(r"[^>\n]*")


class Qwen3CoderParser(ToolSteps):
    """A plain string parameter is streamed, any other is told when its text is complete."""

    keeps: ClassVar[tuple[str, ...]] = (OPEN, CLOSE)
    _markers = Markers(OPEN, FUNCTION)
    _value_end = Markers(PARAMETER_END)

    def steps(self) -> Steps[None]:
        while marker := (yield from self.content_until(self._markers)):
            yield from self.attempt(marker, self._call(named=marker == FUNCTION))
        self.end_content()

    def _call(self, named: bool) -> Steps[None]:
        source = self.source
        if not named:
            yield from source.space()
            yield from source.expect(FUNCTION)
        name = yield from self._name()
        if named and self.tools and name not in self.tools:  # the outer tag may be left out
            raise Malformed
        yield from source.space()
        if (yield from source.accept(PARAMETER)):
            self.start(name)
            yield from self._parameters(name)
        else:
            yield from source.expect(FUNCTION_END)
            self.whole(name, "{}")
        yield from source.space()
        yield from source.accept(CLOSE)

    def _parameters(self, name: str) -> Steps[None]:
        source = self.source
        opening = "{"
        while True:
            key = yield from self._name()
            self.arguments(f"{opening}{json.dumps(key, ensure_ascii=False)}: ")
            yield from self._value(name, key)
            opening = ", "
            yield from source.space()
            if not (yield from source.accept(PARAMETER)):
                break
        yield from source.expect(FUNCTION_END)
        self.arguments("}")
        self.complete()

    def _name(self) -> Steps[str]:
        name = (yield from self.source.run(_NAME, NAME_CHARS)).strip()
        yield from self.source.expect(">")
        if not is_name(name):
            raise Malformed
        return name

    def _value(self, name: str, key: str) -> Steps[None]:
        tool = self.tools.get(name)
        types = parameter_types(tool.parameters if tool else {}, key)
        yield from self.source.accept("\n")
        if types == {"string"}:
            self.arguments('"')
            yield from self._take_value(_EscapedLines(self.arguments).add)
            self.arguments('"')
            return
        parts: list[str] = []
        yield from self._take_value(parts.append)
        self.arguments(typed_json("".join(parts).removesuffix("\n"), types))

    def _take_value(self, sink: Sink) -> Steps[None]:
        while True:
            text, end_tag = self.source.scan(self._value_end)
            sink(text)
            if end_tag:
                return
            if self.source.ended:
                raise Malformed
            yield


class _EscapedLines:
    """Passes text on as the inside of a JSON string, without a line break at its end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = ""

    def add(self, text: str) -> None:
        text = self._held + text
        shown = text.removesuffix("\n")
        self._held = text[len(shown) :]
        self._sink(json.dumps(shown, ensure_ascii=False)[1:-1])
