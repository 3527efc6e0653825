"""Body of POST /v1/responses, and the chat it asks for.

The chat is checked like any other; what it refuses is named by the field that the caller sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from apps.api import foreign
from apps.api.field_types import TextsField
from apps.api.parse import unknown_inside
from apps.api.schema_types import Int, Schema, Text
from engine.errors import InvalidRequest
from engine.sampling_params import SamplingParams

NO_STORE = "needs stored responses, which this server does not keep; send the whole conversation"
REFUSED: dict[str, str] = {
    "previous_response_id": NO_STORE,
    "conversation": NO_STORE,
    "prompt": "names a stored prompt; send the text in 'input' and 'instructions'",
}
PARAMS = {  # field of the chat → field of this body
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "truncate_prompt_tokens": "truncation",
}
PARTS = {".function.": ".", "response_format.json_schema.": "text.format.",
         "response_format.": "text.format."}  # fmt: skip  # here tools and forms are flat
SAME = (  # fields that mean the same in a chat
    "model", "stream", "temperature", "top_p", "parallel_tool_calls", "user",
    "metadata", "top_logprobs", "request_id", "top_k", "min_p", "seed", "stop", "priority",
    "cache_salt", "chat_template_kwargs", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "ignore_eos", "include_reasoning", "skip_special_tokens",
)  # fmt: skip
SCORES = "message.output_text.logprobs"


class ReasoningWish(Schema):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: Text | None = None


class TextWish(Schema):
    format: dict[str, Any] | None = None
    verbosity: Text | None = None


class ResponsesBody(Schema):
    """What only this API has; the fields in `SAME` are checked by the chat."""

    input: str | list[dict[str, Any]]
    instructions: Text | None = None
    max_output_tokens: Int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: TextWish | None = None
    reasoning: ReasoningWish | None = None
    include: list[str] = Field(default_factory=list)
    truncation: Literal["auto", "disabled"] | None = None
    store: bool | None = None
    background: bool | None = None
    parallel_tool_calls: bool = True
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    metadata: TextsField | None = None
    user: Text | None = None

    def echo(self, params: SamplingParams) -> dict[str, Any]:
        """What a response repeats of its request."""
        wish = self.text.model_dump(exclude_none=True) if self.text else {}
        return {
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls,
            "previous_response_id": None,
            "reasoning": self.reasoning.model_dump() if self.reasoning else None,
            "temperature": params.temperature,
            "text": {"format": {"type": "text"}} | wish,
            "tool_choice": self.tool_choice or "auto",
            "tools": self.tools or [],
            "top_logprobs": self.top_logprobs or 0,
            "top_p": params.top_p,
            "truncation": self.truncation or "disabled",
            "user": self.user,
        }


def read(raw: dict[str, Any]) -> tuple[ResponsesBody, dict[str, Any], list[str]]:
    """The body, the chat it asks for, and names of fields without effect.

    Raises `InvalidRequest` naming the field of this API.
    """
    for name, advice in REFUSED.items():
        if raw.get(name) is not None:
            raise InvalidRequest(f"'{name}' {advice}.", param=name)
    if raw.get("background"):
        raise InvalidRequest(
            "'background' is not supported: leave it out and keep the connection, or stream.",
            param="background",
        )
    body = foreign.validated(ResponsesBody, raw, (ReasoningWish, TextWish))
    return body, _chat(raw, body), _ignored(raw, body)


def _chat(raw: dict[str, Any], body: ResponsesBody) -> dict[str, Any]:
    chat = {name: raw[name] for name in SAME if raw.get(name) is not None}
    chat["messages"] = _messages(body)
    if body.max_output_tokens is not None:
        chat["max_completion_tokens"] = body.max_output_tokens
    if body.tools:
        chat["tools"] = [_tool(tool, i) for i, tool in enumerate(body.tools)]
    if body.tool_choice is not None:
        chat["tool_choice"] = _chosen(body.tool_choice)
    if body.text is not None and (form := body.text.format) is not None:
        chat["response_format"] = _format(form)
    if body.reasoning is not None and body.reasoning.effort is not None:
        chat["reasoning_effort"] = body.reasoning.effort
    if body.truncation == "auto":
        chat["truncate_prompt_tokens"] = -1
    chat["logprobs"] = SCORES in body.include or bool(body.top_logprobs)
    if not chat["logprobs"]:
        chat.pop("top_logprobs", None)  # 0 asks for none
    return chat


def _ignored(raw: dict[str, Any], body: ResponsesBody) -> list[str]:
    known = ResponsesBody.model_fields.keys() | set(SAME) | REFUSED.keys()
    names = [name for name in raw if name not in known and raw[name] is not None]
    names += ["store"] if body.store else []
    names += ["include"] if set(body.include) - {SCORES} else []
    names += ["reasoning.summary"] if body.reasoning and body.reasoning.summary else []
    names += ["text.verbosity"] if body.text and body.text.verbosity else []
    return [*names, *unknown_inside(raw, ResponsesBody)]


def _tool(tool: dict[str, Any], index: int) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise InvalidRequest(
            f"'tools[{index}].type' must be 'function': other tools are not run here.",
            param=f"tools[{index}].type",
        )
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def _chosen(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """Here a named function is flat as well. Raises `InvalidRequest`."""
    if isinstance(choice, str) and choice in ("none", "auto", "required"):
        return choice
    name = choice.get("name") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or choice.get("type") != "function" or type(name) is not str:
        raise InvalidRequest(
            "'tool_choice' must be 'none', 'auto', 'required' or {type: 'function', name}.",
            param="tool_choice",
        )
    return {"type": "function", "function": {"name": name}}


def _format(form: dict[str, Any]) -> dict[str, Any]:
    """Here the schema lies flat beside its name; in a chat it has an object of its own."""
    if form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "json_schema": {k: v for k, v in form.items() if k != "type"}}


def _messages(body: ResponsesBody) -> list[dict[str, Any]]:
    talk = foreign.Talk()
    if body.instructions:
        talk.say("system", body.instructions)
    if isinstance(body.input, str):
        talk.say("user", body.input)
        return talk.messages
    for index, item in enumerate(body.input):
        _add(talk, item, f"input[{index}]")
    return talk.messages


def _add(talk: foreign.Talk, item: dict[str, Any], path: str) -> None:
    match item.get("type", "message"):
        case "message":
            role = item.get("role")
            if role not in ("user", "assistant", "system", "developer"):
                raise InvalidRequest(
                    f"'{path}.role' must be user, assistant, system or developer.",
                    param=f"{path}.role",
                )
            talk.say(role, _text(item.get("content"), f"{path}.content"))
        case "function_call":
            name, arguments = foreign.texts(item, path, "name", "arguments")
            talk.call(item.get("call_id"), name, arguments)
        case "function_call_output":
            (call_id,) = foreign.texts(item, path, "call_id")
            talk.result(call_id, _text(item.get("output"), f"{path}.output"))
        case "reasoning":
            parts = item.get("content") or item.get("summary") or []
            talk.think(_text(parts, f"{path}.content"))
        case kind:
            raise InvalidRequest(
                f"'{path}.type' is {str(kind)[:64]!r}; message, function_call, "
                "function_call_output and reasoning are accepted.",
                param=f"{path}.type",
            )


def _text(value: Any, path: str) -> str:
    kinds = ("input_text", "output_text", "text", "refusal", "reasoning_text", "summary_text")
    return foreign.joined(value, path, kinds)
