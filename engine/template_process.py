"""Chat templates rendered in child processes, which may die of them.

A template is foreign code, also a model's own. Costs a round trip on a pipe, some 0.2 ms, while
this process computes less than if it rendered itself.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.chat_template import MAX_CHARS, RENDER_S, Message
from engine.errors import EngineStartError, InvalidRequest
from engine.frames import ChildDied, TooLate, answer_of, write_frame
from engine.template_child import Rendered, RenderJob

ANSWER_S = 120.0  # the child counts its CPU time; this is for one that cannot run at all
TRIES = 2  # a child may have been killed from outside
SOURCES = Path(__file__).parents[1]


class RenderProcess:
    """One child, started when it is first needed; one render at a time. Any thread may call."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Of the child; 0 when there is none."""
        child = self._child
        return 0 if child is None else child.pid

    def render(self, job: RenderJob) -> Rendered:
        """Raises `EngineStartError` for a template that took too long or too much memory."""
        with self._lock:
            for _ in range(TRIES):
                try:
                    return self._ask(job)
                except (ChildDied, TooLate, OSError):
                    if self._end() == -signal.SIGPROF:
                        break
        raise EngineStartError(
            f"The chat template takes more than {RENDER_S:g} s for one conversation.",
            "Correct the template file or pass another with --chat-template.",
        )

    def close(self) -> None:
        """End the child; the next render starts another."""
        with self._lock:
            self._end()

    def _ask(self, job: RenderJob) -> Rendered:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "engine.template_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a traceback may quote the conversation
                cwd=SOURCES,  # where `-m` looks for this package first
            )
        assert self._child.stdin is not None
        write_frame(self._child.stdin, job)
        return msgspec.msgpack.decode(answer_of(self._child, ANSWER_S), type=Rendered)

    def _end(self) -> int:
        """The child's exit status; 0 when there was none."""
        child, self._child = self._child, None
        if child is None:
            return 0
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was written to it has no reader
                    pipe.close()
        return child.returncode


STRANGERS = RenderProcess()  # of templates that callers send
OPERATORS = RenderProcess()  # of those that stand in a model's files or options
for _process in (STRANGERS, OPERATORS):
    atexit.register(_process.close)


@dataclass(frozen=True, slots=True)
class ChildTemplate:
    """A template as `ChatTemplate`, but rendered in the child."""

    source: str
    special_tokens: dict[str, str]
    process: RenderProcess = OPERATORS

    def render(self, messages: list[Message], *, max_chars: int = MAX_CHARS, **options: Any) -> str:
        """As `ChatTemplate.render`. Raises `EngineStartError` too: for a source that is no Jinja,
        and when the child died of it."""
        given = {"messages": messages, "max_chars": max_chars, **options}
        try:
            found = self.process.render(RenderJob(self.source, self.special_tokens, given))
        except (ValueError, ArithmeticError, TypeError):  # halves of surrogate pairs, huge numbers
            raise InvalidRequest(
                "The messages hold text or numbers that cannot be rendered.", param="messages"
            ) from None
        if found.broken:
            raise EngineStartError(
                found.broken, "Correct the template file or pass another with --chat-template."
            )
        if found.refusal:
            raise InvalidRequest(found.refusal, param=found.param)
        return found.text
