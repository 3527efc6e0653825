"""Bodies of the routes that only turn text into token ids and back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from apps.api.chat_messages import Message
from apps.api.schema_types import Int, Schema, Text
from apps.api.tools import ToolSpec


class TokenizeBody(Schema):
    """POST /tokenize: `prompt` or `messages`."""

    model: Annotated[str, Field(max_length=256)] | None = None
    prompt: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    add_special_tokens: bool | None = None  # default: true for a prompt, false for messages
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    tools: list[ToolSpec] | None = None
    return_token_strs: bool = False


class DetokenizeBody(Schema):
    """POST /detokenize."""

    model: Annotated[str, Field(max_length=256)] | None = None
    tokens: list[Int]
