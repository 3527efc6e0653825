"""Calls written as JSON: `{"name": …, "arguments": {…}}` alone or in a list."""

from __future__ import annotations

from collections.abc import Collection

from apps.api.parsers.json_text import is_json, json_captured, json_string, json_value
from apps.api.parsers.source import Malformed, Steps
from apps.api.parsers.steps import NAME_CHARS, ToolSteps

ARGUMENT_KEYS = ("arguments", "parameters")
MEMBERS = 32  # members of one call object


class CallObject:
    """Reads one call object and tells its parser. A call without arguments has `{}`.

    `only` is for forms without markers: another member, or a name that is no offered tool, makes
    the object plain content.
    """

    def __init__(self, parser: ToolSteps, only: Collection[str] = ()) -> None:
        self._parser = parser
        self._source = parser.source
        self._only = only
        self._name: str | None = None
        self._early: str | None = None  # arguments that came before the name
        self._told = False

    def read(self) -> Steps[None]:
        """Malformed when it is no call; the call is told as soon as name and arguments are."""
        source = self._source
        if not (yield from source.accept_mark("{")):
            raise Malformed
        for _ in range(MEMBERS):
            yield from self._member()
            if not (yield from source.accept_mark(",")):
                break
        if self._name is None:
            raise Malformed
        yield from source.expect("}")
        if self._told:
            self._parser.past_call()
        else:
            self._parser.whole(self._name, "{}")

    def _member(self) -> Steps[None]:
        source = self._source
        key = yield from json_string(source)
        if not (yield from source.accept_mark(":")):
            raise Malformed
        if key == "name" and self._name is None:
            yield from self._read_name()
        elif key in ARGUMENT_KEYS and not self._told and self._early is None:
            yield from self._read_arguments()
        elif self._only and key not in self._only:
            raise Malformed
        else:
            yield from json_value(source)

    def _read_name(self) -> Steps[None]:
        name = yield from json_string(self._source)
        if not is_name(name) or not self._may_call(name):
            raise Malformed
        self._name = name
        if self._early is not None:
            self._tell(name, self._early)

    def _may_call(self, name: str) -> bool:
        tools = self._parser.tools
        return not (self._only and tools) or name in tools

    def _read_arguments(self) -> Steps[None]:
        first = yield from self._source.peek()
        if first == "{" and self._name is not None:
            yield from stream_arguments(self._parser, self._name)
            self._told = True
            return
        if first == '"':  # the object encoded once more, as in OpenAI's own messages
            text = (yield from json_string(self._source)).strip() or "{}"
        else:
            text = yield from json_captured(self._source)
            text = "{}" if text == "null" else text
        if not is_json(text, opening="{"):
            raise Malformed
        if self._name is None:
            self._early = text
        else:
            self._tell(self._name, text)

    def _tell(self, name: str, arguments: str) -> None:
        self._parser.whole(name, arguments)
        self._told = True


def is_name(text: str) -> bool:
    """Whether a function may be called so: printable, not blank, at most 256 characters."""
    return bool(text.strip()) and len(text) <= NAME_CHARS and text.isprintable()


def stream_arguments(parser: ToolSteps, name: str, call_id: str | None = None) -> Steps[None]:
    """Take a JSON object as the call's arguments and pass it on as it comes."""
    source = parser.source
    yield from source.space()
    if (yield from source.peek()) != "{":
        raise Malformed
    parser.start(name, call_id)
    source.tap(parser.arguments)
    try:
        yield from json_value(source)
    finally:
        source.untap(parser.arguments)
    parser.complete()


def call_list(parser: ToolSteps) -> Steps[None]:
    """`[{call}, …]` or one call object."""
    source = parser.source
    yield from source.space()
    if not (yield from source.accept("[")):
        yield from CallObject(parser).read()
        return
    while True:
        yield from CallObject(parser).read()
        if not (yield from source.accept_mark(",")):
            break
    yield from source.expect("]")
