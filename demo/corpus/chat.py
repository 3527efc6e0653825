"""Conversations as text. It writes what demo/chat_template.jinja writes, without Jinja's cost."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from demo.corpus.core import Example, Json, Message, ToolCall

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, START, END)
MARKUP = (
    "<think>",
    "</think>",
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
THINK = "Think inside <think> tags before you answer."
_TOOLS = "You can call these functions:\n<tools>\n{}</tools>\nTo call one, write " + (
    '<tool_call>{{"name": ..., "arguments": {{...}}}}</tool_call>.'
)
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_THOUGHT = re.compile(r"^\s*<think>(.*?)</think>\s*", re.DOTALL)


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def call_text(call: ToolCall) -> str:
    """One call as the model writes it."""
    return f'<tool_call>\n{{"name": {_json(call["name"])}, "arguments": {_json(call["arguments"])}}}\n</tool_call>'


def reply_text(message: Message) -> str:
    """What the model writes for an assistant message."""
    thought = f"<think>\n{message['reasoning']}\n</think>\n\n" if message.get("reasoning") else ""
    parts = [message["content"]] if message["content"] else []
    return thought + "\n".join(
        [*parts, *(call_text(call) for call in message.get("tool_calls", []))]
    )


def _head(messages: list[Message], tools: list[dict[str, Json]], thinking: bool) -> str:
    """The system turn, or nothing when there is nothing to say in it."""
    parts = [messages[0]["content"]] if messages[0]["role"] == "system" else []
    if tools:
        parts.append(_TOOLS.format("".join(_json(tool) + "\n" for tool in tools)))
    if thinking:
        parts.append(THINK)
    return f"{START}system\n" + "\n\n".join(parts) + f"{END}\n" if parts else ""


def render(messages: list[Message], tools: list[dict[str, Json]], *, thinking: bool = False) -> str:
    """The whole conversation."""
    out = [_head(messages, tools, thinking)]
    for idx, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            opened = messages[idx - 1]["role"] == "tool"
            closed = idx + 1 == len(messages) or messages[idx + 1]["role"] != "tool"
            out.append("" if opened else f"{START}user")
            out.append(
                f"\n<tool_response>\n{message['content']}\n</tool_response>"
                + (f"{END}\n" if closed else "")
            )
        elif role == "assistant":
            out.append(f"{START}assistant\n{reply_text(message)}{END}\n")
        elif role != "system" or idx:
            out.append(f"{START}{role}\n{message['content']}{END}\n")
    return "".join(out)


def prompt(example: Example) -> str:
    """The text before the example's answer."""
    before = render(example.messages[:-1], example.tools, thinking=example.thinking)
    return f"{before}{START}assistant\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated reply taken apart."""

    content: str
    reasoning: str | None
    calls: list[ToolCall] | None  # None: markup without valid JSON


def parse(reply: str) -> Answer:
    """Split a reply in its reasoning, calls and text."""
    thought = _THOUGHT.match(reply)
    rest = reply[thought.end() :] if thought else reply
    calls: list[ToolCall] | None = []
    for body in _CALL.findall(rest):
        try:
            call = json.loads(body)
            calls = (
                None
                if calls is None
                else [*calls, {"name": call["name"], "arguments": call["arguments"]}]
            )
        except (ValueError, KeyError, TypeError):
            calls = None
    return Answer(_CALL.sub("", rest).strip(), thought.group(1).strip() if thought else None, calls)
