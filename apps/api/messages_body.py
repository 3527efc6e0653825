"""Body of POST /v1/messages (Anthropic's form), and the chat it asks for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from apps.api import foreign
from apps.api.parse import unknown_inside
from apps.api.schema_types import Float, Int, Schema, Text
from engine.errors import InvalidRequest

PARAMS = {  # field of the chat → field of this body
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "reasoning_effort": "thinking",
    "thinking_token_budget": "thinking.budget_tokens",
    "user": "metadata",
}
SAME = (  # fields that mean the same in a chat
    "model", "stream", "temperature", "top_p", "top_k", "min_p", "seed", "priority",
    "request_id", "cache_salt", "chat_template_kwargs", "repetition_penalty", "ignore_eos",
)  # fmt: skip
PARTS = {".function.parameters": ".input_schema", ".function.": "."}
COUNT_SAME = ("model", "chat_template_kwargs")
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
TEXT_PARTS = ("text",)


class MessageIn(Schema):
    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class ToolIn(Schema):
    name: Text
    description: Text | None = None
    input_schema: dict[str, Any] | None = None
    type: str | None = None


class ChoiceIn(Schema):
    type: Literal["auto", "any", "tool", "none"]
    name: Text | None = None
    disable_parallel_tool_use: bool = False


class ThinkingIn(Schema):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Int | None = None


class MetadataIn(Schema):
    user_id: Text | None = None


class CountBody(Schema):
    """What both routes read; the fields in `shared` are checked by the chat."""

    messages: Annotated[list[MessageIn], Field(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    tools: list[ToolIn] | None = None
    tool_choice: ChoiceIn | None = None
    thinking: ThinkingIn | None = None


class MessagesBody(CountBody):
    max_tokens: Annotated[int, Field(ge=1)]
    stop_sequences: list[Text] | None = None
    metadata: MetadataIn | None = None
    temperature: Annotated[Float, Field(ge=0, le=2)] | None = None


NESTED = (MessageIn, ToolIn, ChoiceIn, ThinkingIn, MetadataIn)


def read(
    raw: dict[str, Any], kind: type[CountBody] = MessagesBody
) -> tuple[dict[str, Any], list[str]]:
    """The chat, and names of fields without effect. Raises `InvalidRequest`."""
    body = foreign.validated(kind, raw, NESTED)
    chat = {name: raw[name] for name in shared(kind) if raw.get(name) is not None}
    chat["messages"] = _messages(body)
    if _begins_answer(chat["messages"]):
        chat |= {"continue_final_message": True, "add_generation_prompt": False}
    if body.tools:
        chat["tools"] = [_tool(tool, i) for i, tool in enumerate(body.tools)]
    if (choice := body.tool_choice) is not None:
        chat["parallel_tool_calls"] = not choice.disable_parallel_tool_use
        chat["tool_choice"] = CHOICES.get(choice.type) or _named(choice)
    if body.thinking is not None:
        chat["reasoning_effort"] = "none" if body.thinking.type == "disabled" else "high"
    if isinstance(body, MessagesBody):
        chat["max_completion_tokens"] = body.max_tokens
        chat["stop"] = body.stop_sequences
        if (budget := _budget(body)) is not None:
            chat["thinking_token_budget"] = budget
    return chat, _ignored(raw, body)


def shared(kind: type[CountBody]) -> tuple[str, ...]:
    """Fields that the chat takes over as they are."""
    return SAME if kind is MessagesBody else COUNT_SAME


def _ignored(raw: dict[str, Any], body: CountBody) -> list[str]:
    known = type(body).model_fields.keys() | set(shared(type(body)))
    names = [name for name in raw if name not in known and raw[name] is not None]
    names += ["metadata"] if isinstance(body, MessagesBody) and body.metadata else []
    return [*names, *unknown_inside(raw, type(body))]


def _budget(body: CountBody) -> int | None:
    """How many tokens of thinking are wanted at most, where any are wanted."""
    wish = body.thinking
    return None if wish is None or wish.type != "enabled" else wish.budget_tokens


def _begins_answer(messages: list[dict[str, Any]]) -> bool:
    """A text of the assistant at the end is the beginning of the answer: it is gone on with."""
    last = messages[-1] if messages else {"role": ""}
    return last["role"] == "assistant" and bool(last["content"]) and "tool_calls" not in last


def _tool(tool: ToolIn, index: int) -> dict[str, Any]:
    if tool.type not in (None, "custom") or tool.input_schema is None:
        raise InvalidRequest(
            f"'tools[{index}]' must be a tool of your own with a name and an input_schema: other "
            "tools are not run here.",
            param=f"tools[{index}]",
        )
    function = {
        "name": tool.name, "description": tool.description, "parameters": tool.input_schema,
    }  # fmt: skip
    return {"type": "function", "function": function}


def _named(choice: ChoiceIn) -> dict[str, Any]:
    if choice.name is None:
        raise InvalidRequest("'tool_choice.name' is required.", param="tool_choice")
    return {"type": "function", "function": {"name": choice.name}}


def _messages(body: CountBody) -> list[dict[str, Any]]:
    talk = foreign.Talk()
    if body.system:
        talk.say("system", foreign.joined(body.system, "system", TEXT_PARTS))
    for index, message in enumerate(body.messages):
        path = f"messages[{index}].content"
        if not message.content and (message.role, index) != ("assistant", len(body.messages) - 1):
            raise InvalidRequest(f"'{path}' is empty.", param=path)
        if isinstance(message.content, str):
            talk.say(message.role, message.content)
            continue
        for place, block in enumerate(message.content):
            _add(talk, message.role, block, f"{path}[{place}]")
    return talk.messages


def _add(talk: foreign.Talk, role: str, block: dict[str, Any], path: str) -> None:
    """One block of a message. A result comes before the text that a user adds to it."""
    match block.get("type"), role:
        case "text", _:
            (text,) = foreign.texts(block, path, "text")
            talk.add(role, text)
        case "thinking", "assistant":
            (text,) = foreign.texts(block, path, "thinking")
            talk.think(text)
        case "tool_use", "assistant":
            call_id, name = foreign.texts(block, path, "id", "name")
            talk.call(call_id, name, orjson.dumps(block.get("input") or {}).decode())
        case "tool_result", "user":
            (call_id,) = foreign.texts(block, path, "tool_use_id")
            content = block.get("content") or ""
            text = foreign.joined(content, f"{path}.content", TEXT_PARTS)
            talk.result(call_id, f"Error: {text}" if block.get("is_error") else text)
        case kind, _:
            raise InvalidRequest(
                f"'{path}' is a block of type {str(kind)[:64]!r} in a message of the {role}: text, "
                "the user's tool_result, and the assistant's thinking and tool_use are accepted.",
                param=path,
            )
