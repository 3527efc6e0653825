"""Reasoning between two markers, then the answer; white space around the markers is dropped.

Where the reading begins is decided by the end of the rendered prompt: a start marker there means
that the answer begins inside the reasoning, an end marker that the model was told not to think.
Only without either does the family's habit decide.
"""

from __future__ import annotations

from typing import ClassVar

from apps.api.parsers.source import Markers, Steps
from apps.api.parsers.steps import StepParser, TrimmedText


class ReasoningParser(StepParser):
    """Emits Reasoning and Content. An answer without an end marker is reasoning to its end."""

    starts: ClassVar[tuple[str, ...]]
    ends: ClassVar[tuple[str, ...]]
    opened: ClassVar[bool] = False
    """The answer begins inside the reasoning, also without a start marker."""
    keeps: ClassVar[tuple[str, ...]] = ()
    """Special tokens that the detokeniser must leave in the text for this parser."""

    def __init__(self, *, prompt: str = "", thinking: bool = True) -> None:
        """`prompt` is the rendered prompt (its end suffices), `thinking` the template's switch."""
        super().__init__()
        tail = prompt.rstrip()
        self.begun = self.opened or tail.endswith(self.starts)
        """The answer begins inside the reasoning."""
        self.reasoning = thinking and not tail.endswith(self.ends)
        """Whether the text read so far ends inside the reasoning, or may still begin it."""
        self.passes = False
        """Whether all further text is content as it stands."""

    def steps(self) -> Steps[None]:
        if self.reasoning:
            space = yield from self.source.space()
            if (yield from self._accept_start()) or self.begun:
                yield from self._think()
                self.reasoning = False
                yield from self.source.space()
            else:
                self.emit_content(space)
            self.reasoning = False
        yield from self.answer()

    def answer(self) -> Steps[None]:
        """What comes after the reasoning."""
        self.passes = True
        while not self.source.ended:
            self.emit_content(self.source.take_rest())
            yield

    def _accept_start(self) -> Steps[bool]:
        for start in self.starts:
            if (yield from self.source.accept(start)):
                yield from self.source.space()
                return True
        return False

    def _think(self) -> Steps[None]:
        trimmed, ends = TrimmedText(), Markers(*self.ends)
        while True:
            text, end = self.source.scan(ends)
            self.emit_reasoning(trimmed.add(text))
            if end or self.source.ended:
                return
            yield


class DeepSeekR1Parser(ReasoningParser):
    """DeepSeek R1 and its distillations: the template may have written `<think>` already."""

    starts, ends, opened = ("<think>",), ("</think>",), True
    keeps: ClassVar[tuple[str, ...]] = ("<think>", "</think>")


class Qwen3Parser(ReasoningParser):
    """Qwen3 and other models that think between `<think>` and `</think>` when they choose to."""

    starts, ends = ("<think>",), ("</think>",)
    keeps: ClassVar[tuple[str, ...]] = ("<think>", "</think>")


class MistralReasoningParser(ReasoningParser):
    """Magistral: `[THINK]` … `[/THINK]`."""

    starts, ends = ("[THINK]",), ("[/THINK]",)
    keeps: ClassVar[tuple[str, ...]] = ("[THINK]", "[/THINK]")


class GraniteReasoningParser(ReasoningParser):
    """Granite 3.2 speaks of its thought process; 3.3 writes `<think>` and `<response>` tags."""

    starts = ("Here is my thought process:", "Here's my thought process:", "<think>")
    ends = ("Here is my response:", "Here's my response:", "</think>")
    keeps: ClassVar[tuple[str, ...]] = ("<think>", "</think>", "<response>", "</response>")
    _response_end = Markers("</response>")

    def answer(self) -> Steps[None]:
        if (yield from self.source.accept("<response>")):
            while True:
                text, end = self.source.scan(self._response_end)
                self.emit_content(text)
                if end or self.source.ended:
                    break
                yield
        yield from super().answer()
