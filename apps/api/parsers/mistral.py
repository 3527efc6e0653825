"""Mistral: `[TOOL_CALLS] [{"name": …, "arguments": {…}}, …]` (tokenizers v2–v7) and
`[TOOL_CALLS]name[CALL_ID]id[ARGS]{…}` (v11 and later, `[CALL_ID]` optional), repeated."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Sequence
from typing import ClassVar

from apps.api.parsers.call_object import call_list, is_name, stream_arguments
from apps.api.parsers.source import Malformed, Markers, Steps
from apps.api.parsers.steps import NAME_CHARS, Tool, ToolSteps

CALLS, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
ID_CHARS = 9
LETTERS = string.ascii_letters + string.digits

_NAME = re.compile(r"[^\s\[\]{}]*")
_ID = re.compile(r"[a-zA-Z0-9]*")


def new_mistral_id() -> str:
    """Mistral's templates refuse ids that are not nine letters and digits."""
    return "".join(LETTERS[byte % len(LETTERS)] for byte in secrets.token_bytes(ID_CHARS))


class MistralParser(ToolSteps):
    keeps: ClassVar[tuple[str, ...]] = (CALLS, CALL_ID, ARGS)
    _markers = Markers(CALLS)

    def __init__(
        self, tools: Sequence[Tool] = (), new_id: Callable[[], str] = new_mistral_id
    ) -> None:
        super().__init__(tools, new_id)

    def steps(self) -> Steps[None]:
        while marker := (yield from self.content_until(self._markers)):
            yield from self.attempt(marker, self._calls())
        self.end_content()

    def _calls(self) -> Steps[None]:
        yield from self.source.space()
        if (yield from self.source.peek()) in ("[", "{"):
            yield from call_list(self)
        else:
            yield from self._named_call()

    def _named_call(self) -> Steps[None]:
        source = self.source
        name = yield from source.run(_NAME, NAME_CHARS)
        if not is_name(name):
            raise Malformed
        yield from source.space()
        call_id = None
        if (yield from source.accept(CALL_ID)):
            written = yield from source.run(_ID, ID_CHARS)
            call_id = written if len(written) == ID_CHARS else None
        yield from source.accept(ARGS)  # a tokenizer may hide it: the brace is enough
        yield from stream_arguments(self, name, call_id)
