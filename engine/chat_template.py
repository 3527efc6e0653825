"""Messages → prompt text through a checkpoint's Jinja template, always in the sandbox.

The sandbox is immutable: a template can neither change what it is given nor reach Python objects
behind it. What serves callers renders in a process apart: template_process.py.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Call, CallBlock, ExprStmt, For, Macro, Name, Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.errors import EngineStartError, InvalidRequest

Message = dict[str, Any]
RENDER_S = 0.5  # of CPU time; a template that takes longer is stopped
MAX_CHARS = 1 << 26  # of a rendered prompt, when the caller names no bound
MAX_REPEATED = 1 << 20  # elements of a text or list that `*` makes
TICK = "_pagoda_tick"
TOO_MUCH = (
    "The model's chat template makes too much of these messages, or takes too long. "
    "Send fewer or shorter ones."
)


class TemplateRefusal(jinja2.TemplateError):
    """The template itself called `raise_exception`: its words are for the caller."""


class TooLong(jinja2.TemplateError):
    """The template ran out of time or room."""


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox whose templates cannot run or grow without end.

    A thread cannot be killed, so every loop turn and macro call asks whether time is up. What one
    expression can do between two of them is not bounded here: see template_process.py.
    """

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(v) for v in (left, right) if isinstance(v, str | list | tuple)]
        counts = [abs(v) for v in (left, right) if isinstance(v, int)]
        if operator == "*" and sizes and counts and sizes[0] * counts[0] > MAX_REPEATED:
            raise TooLong
        if operator == "**" and len(counts) == 2 and max(counts) > 1000:
            raise TooLong
        return super().call_binop(context, operator, left, right)

    def watched(self, source: str) -> jinja2.Template:
        tree = self.parse(source)
        nodes: list[For | Macro] = [*tree.find_all(For), *tree.find_all(Macro)]
        for node in nodes:
            line = node.lineno
            tick = Call(Name(TICK, "load", lineno=line), [], [], None, None, lineno=line)
            node.body.insert(0, ExprStmt(tick, lineno=line))
        return self.from_string(tree)


class GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks training spans; here it is transparent."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Any) -> str:
        return str(caller())


class ChatTemplate:
    """A compiled template. Rendering is pure and thread-safe."""

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        """Raises `EngineStartError` if the source is not valid Jinja."""
        environment = BoundedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            self._template = environment.watched(source)
        except jinja2.TemplateSyntaxError as error:
            raise EngineStartError(
                f"The chat template has a syntax error in line {error.lineno}: {error.message}.",
                "Correct the template file or pass another with --chat-template.",
            ) from None
        self._special_tokens = special_tokens

    def render(
        self,
        messages: list[Message],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        max_chars: int = MAX_CHARS,
        **kwargs: Any,
    ) -> str:
        """The prompt for `messages`. Raises `InvalidRequest` when the template refuses them, or
        needs more than `RENDER_S` seconds or `max_chars` characters."""
        if continue_final_message and add_generation_prompt:
            raise InvalidRequest(
                "'continue_final_message' and 'add_generation_prompt' exclude each other: "
                "set add_generation_prompt to false.",
                param="continue_final_message",
            )
        try:
            text = self._text(
                max_chars,
                messages=messages,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
                **kwargs,
            )
        except (TooLong, RecursionError, MemoryError):
            raise InvalidRequest(TOO_MUCH, param="messages") from None
        except TemplateRefusal as refusal:
            raise InvalidRequest(
                f"The model's chat template refuses these messages: {refusal}", param="messages"
            ) from None
        except Exception:  # a template is foreign code: it may fail in any way
            raise InvalidRequest(
                "The model's chat template cannot render these messages. Check the order of "
                "roles and that every content is text the model supports.",
                param="messages",
            ) from None
        return _until_last_message(text, messages) if continue_final_message else text

    def _text(self, max_chars: int, **names: Any) -> str:
        until = time.thread_time() + RENDER_S

        def tick() -> None:
            if time.thread_time() > until:
                raise TooLong

        parts, room = [], max_chars
        for part in self._template.generate({**names, TICK: tick}):
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise TooLong
        return "".join(parts)


def _until_last_message(text: str, messages: list[Message]) -> str:
    """Cut what the template adds after the last message's content."""
    last = messages[-1].get("content") if messages else None
    if not isinstance(last, str) or (at := text.rfind(last.rstrip())) < 0:
        raise InvalidRequest(
            "'continue_final_message' needs a last message with text that the chat template "
            "shows unchanged.",
            param="continue_final_message",
        )
    return text[: at + len(last.rstrip())]


def _tojson(value: Any, indent: int | None = None, **options: Any) -> str:
    """JSON as templates expect it: Unicode as is, no HTML escapes."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> NoReturn:
    raise TemplateRefusal(message)
