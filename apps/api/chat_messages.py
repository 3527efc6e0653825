"""Messages of a conversation, as they come and as chat templates take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, PlainValidator, ValidationError

from apps.api.body import deeper_than
from apps.api.caps import MAX_DEPTH
from apps.api.schema_types import Schema, Text, checked_text

Parts = Literal["join", "keep", "wrap"]


@dataclass(frozen=True, slots=True)
class TemplateForm:
    """How a chat template takes contents, and calls of earlier answers."""

    argument_text: bool = False
    """Arguments as text, as DeepSeek's templates join them; most write an object as JSON."""
    null_content: bool = False
    """A message that only calls has null as content, not an empty text."""
    parts: Parts = "join"
    """Contents as one text, as they were sent, or always as a list of parts."""


PLAIN_FORM = TemplateForm()


class TextPart(Schema):
    type: Literal["text", "refusal"]
    text: Text | None = None
    refusal: Text | None = None


def _content(value: Any) -> str | list[TextPart]:
    if isinstance(value, str):
        return checked_text(value)
    if not isinstance(value, list):
        raise ValueError("must be a string or a list of parts")
    return [_part(part) for part in value]


def _part(part: Any) -> TextPart:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "refusal"):
        raise ValueError("holds a part this model cannot read; only text parts are accepted")
    if not isinstance(part.get(kind), str):
        raise ValueError(f"holds a {kind} part without '{kind}'")
    try:
        return TextPart.model_validate(part)
    except ValidationError:
        raise ValueError("holds a part that is too long or of a wrong type") from None


class CalledFunction(Schema):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: Text | None = None


class ToolCall(Schema):
    """A call of an earlier answer; `arguments` is the text of a JSON object."""

    id: Annotated[str, Field(max_length=256)] | None = None
    type: Literal["function"] = "function"
    function: CalledFunction

    def for_template(self, form: TemplateForm) -> dict[str, Any]:
        text = self.function.arguments or "{}"
        arguments = text if form.argument_text else _object_or_text(text)
        call: dict[str, Any] = {"type": "function"}
        if self.id is not None:
            call["id"] = self.id
        return call | {"function": {"name": self.function.name, "arguments": arguments}}


class Message(Schema):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: (
        Annotated[
            str | list[TextPart],
            PlainValidator(_content, json_schema_input_type=str | list[TextPart]),
        ]
        | None
    ) = None
    name: Annotated[str, Field(max_length=256)] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: Annotated[str, Field(max_length=256)] | None = None
    reasoning: Text | None = None
    reasoning_content: Text | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text or part.refusal or "" for part in self.content)
        return self.content or ""

    def for_template(self, form: TemplateForm = PLAIN_FORM) -> dict[str, Any]:
        """The form that the template expects; developer speaks as system, reasoning has both its
        names."""
        content = _shown(self.content, form)
        role = "system" if self.role == "developer" else self.role
        message: dict[str, Any] = {"role": role, "content": content or ""}
        if self.name is not None:
            message["name"] = self.name
        if self.tool_calls:
            message["tool_calls"] = [call.for_template(form) for call in self.tool_calls]
            if form.null_content:
                message["content"] = content or None
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        if (reasoning := self.reasoning or self.reasoning_content) is not None:
            message["reasoning"] = message["reasoning_content"] = reasoning
        return message


def _shown(content: str | list[TextPart] | None, form: TemplateForm) -> Any:
    """The content as the template takes it."""
    if isinstance(content, list):
        texts = [part.text or part.refusal or "" for part in content]
        if form.parts == "join":
            return "".join(texts)
        return [{"type": "text", "text": text} for text in texts]
    if form.parts == "wrap" and content:
        return [{"type": "text", "text": content}]
    return content


def _object_or_text(text: str) -> Any:
    """The object that the text spells; the text itself when it spells none, as a call that broke
    in a stream may, or one nested deeper than a template's JSON filter could follow."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return text if not isinstance(value, dict) or deeper_than(value, MAX_DEPTH) else value
