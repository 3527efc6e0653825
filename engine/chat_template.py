"""Messages → prompt text through a checkpoint's Jinja template, always in the sandbox.

Templates come from model files only, never from a request. The sandbox is immutable: a template
can neither change what it is given nor reach Python objects behind it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.errors import EngineStartError, InvalidRequest

Message = dict[str, Any]


class TemplateRefusal(jinja2.TemplateError):
    """The template itself called `raise_exception`: its words are for the caller."""


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
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            self._template = environment.from_string(source)
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
        **kwargs: Any,
    ) -> str:
        """The prompt for `messages`. Raises `InvalidRequest` when the template refuses them."""
        if continue_final_message and add_generation_prompt:
            raise InvalidRequest(
                "'continue_final_message' and 'add_generation_prompt' exclude each other: "
                "set add_generation_prompt to false.",
                param="continue_final_message",
            )
        try:
            text = self._template.render(
                messages=messages,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
                **kwargs,
            )
        except TemplateRefusal as refusal:
            raise InvalidRequest(
                f"The model's chat template refuses these messages: {refusal}", param="messages"
            ) from None
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError):
            raise InvalidRequest(
                "The model's chat template cannot render these messages. Check the order of "
                "roles and that every content is text the model supports.",
                param="messages",
            ) from None
        return _until_last_message(text, messages) if continue_final_message else text


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
