"""The form of forced calls for models without one of ours: `[{"name": …, "arguments": {…}}, …]`."""

from __future__ import annotations

from apps.api.parsers.call_object import call_list
from apps.api.parsers.source import Steps
from apps.api.parsers.steps import ToolSteps


class JsonCallsParser(ToolSteps):
    """A grammar holds the answer to this form; an answer that was cut is content."""

    def steps(self) -> Steps[None]:
        space = yield from self.source.space()
        self.content(space)
        if (yield from self.source.peek()) == "[":
            yield from self.attempt("", call_list(self))
        while not self.source.ended:
            self.content(self.source.take_rest())
            yield
        self.end_content()
