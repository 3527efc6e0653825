"""gpt-oss (harmony): messages `<|start|>ROLE<|channel|>CHANNEL<|message|>TEXT<|end|>`.

The prompt ends with `<|start|>assistant`, so the answer begins at `<|channel|>`. Channel
"analysis" is reasoning, "final" and a "commentary" without recipient are content; a recipient
`to=functions.NAME`, in the role or after the channel, makes the message a call with JSON
arguments. `<|end|>`, `<|call|>` and `<|return|>` end a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar

from apps.api.parsers.call_object import is_name, stream_arguments
from apps.api.parsers.source import Malformed, Markers, Sink, Steps
from apps.api.parsers.steps import Tool, ToolSteps, new_call_id

START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
END, CALL, RETURN, CONSTRAIN = "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"
HEADER_CHARS = 512
RECIPIENT = "to=functions."

_TEXT = re.compile(r"[^<]*")


class GptOssParser(ToolSteps):
    """Reasoning, content and calls in one: it needs no second parser behind it."""

    keeps: ClassVar[tuple[str, ...]] = (START, CHANNEL, MESSAGE, END, CALL, RETURN, CONSTRAIN)
    _begins = Markers(START, CHANNEL)
    _stops = Markers(END, CALL, RETURN, START, CHANNEL)

    def __init__(self, tools: Sequence[Tool] = (), new_id: Callable[[], str] = new_call_id) -> None:
        super().__init__(tools, new_id)
        self.reasoning = True
        """Whether the text read so far ends inside the reasoning, or may still begin it."""

    def steps(self) -> Steps[None]:
        while marker := (yield from self.content_until(self._begins)):
            yield from self.attempt(marker, self._message(in_channel=marker == CHANNEL))
        self.end_content()

    def _message(self, in_channel: bool) -> Steps[None]:
        channel, recipient = yield from self._header(in_channel)
        self.reasoning = channel == "analysis" and not recipient
        if recipient:
            yield from self._call(recipient)
        else:
            yield from self._text(self.emit_reasoning if self.reasoning else self.content)

    def _header(self, in_channel: bool) -> Steps[tuple[str, str]]:
        """Take the header up to `<|message|>`: (channel, name of the called function or "")."""
        source = self.source
        words: list[str] = []
        channel_at = 0 if in_channel else None
        left = HEADER_CHARS
        while not (yield from source.accept(MESSAGE)):
            if (yield from source.accept(CHANNEL)):
                channel_at = len(words)
            elif not (yield from source.accept(CONSTRAIN)):
                text = yield from source.run(_TEXT, left)
                left -= len(text)
                words += text.split()
                if not text:
                    raise Malformed
        named = [word.removeprefix(RECIPIENT) for word in words if word.startswith(RECIPIENT)]
        after = words[channel_at:] if channel_at is not None else []
        return (after[0] if after else "final"), (named[0] if named else "")

    def _call(self, name: str) -> Steps[None]:
        if not is_name(name):
            raise Malformed
        yield from self.source.space()
        if (yield from self._accept_end()):
            self.whole(name, "{}")
            return
        yield from stream_arguments(self, name)
        yield from self.source.space()
        if not (yield from self._accept_end()) and not self.source.ended:
            raise Malformed

    def _accept_end(self) -> Steps[bool]:
        for token in (CALL, END, RETURN):
            if (yield from self.source.accept(token)):
                return True
        return False

    def _text(self, sink: Sink) -> Steps[None]:
        while True:
            text, stop = self.source.scan(self._stops)
            sink(text)
            if stop in (START, CHANNEL):  # the end token is missing: read the next message
                self.source.pos -= len(stop)
            if stop or self.source.ended:
                return
            yield
