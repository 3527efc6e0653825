"""What the playground can hold: saved under a name by a person, or read from a stored request."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, Literal

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from pydantic import Field, ValidationError

from apps.api.models import PlaygroundPreset
from apps.api.schema_types import Schema
from engine.errors import InvalidRequest

MOST_PRESETS = 100  # of one person
MOST_CHARS = 64_000  # of one preset
PARAMETERS = (
    "max_tokens", "temperature", "top_p", "top_k", "seed", "presence_penalty",
    "frequency_penalty", "stop",
)  # fmt: skip
SHOWN = {"model", "messages", "stream", "stream_options", "tools", "response_format", "logprobs",
         "top_logprobs", *PARAMETERS}  # fmt: skip
Short = Annotated[str, Field(max_length=256)]


class Turn(Schema):
    role: Literal["user", "assistant"]
    text: str


class Content(Schema):
    """All fields of the page as they stand there; an empty text is an empty field."""

    system: str = ""
    turns: Annotated[list[Turn], Field(max_length=200)] = Field(default_factory=list)
    parameters: Annotated[dict[Short, str], Field(max_length=20)] = Field(default_factory=dict)
    logprobs: bool = False
    tools: str = ""
    schema_text: str = ""
    columns: Annotated[list[Short], Field(max_length=4)] = Field(default_factory=list)


@transaction.atomic
def preset_save(*, user: User, name: str, content: Any) -> PlaygroundPreset:
    """Under a new name, or in place of the one that has it. Raises `InvalidRequest`."""
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise InvalidRequest("A name has 1 to 80 printable characters.", param="name")
    try:
        checked = Content.model_validate(content).model_dump()
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InvalidRequest(f"The preset cannot be read ({where}).", param="content") from None
    if (size := len(json.dumps(checked))) > MOST_CHARS:
        raise InvalidRequest(
            f"The preset has {size:,} characters; at most {MOST_CHARS:,} can be saved."
        )
    if "\\u0000" in json.dumps(checked):  # PostgreSQL keeps none
        raise InvalidRequest("The preset holds the character NUL.")
    found = user.presets.filter(name=name).first()
    if found is None:
        if user.presets.count() >= MOST_PRESETS:
            raise InvalidRequest(f"You have {MOST_PRESETS} presets. Delete one first.")
        slug = secrets.token_urlsafe(12)
        return PlaygroundPreset.objects.create(user=user, name=name, slug=slug, content=checked)
    found.content, found.saved_at = checked, timezone.now()
    found.save(update_fields=["content", "saved_at"])
    return found


def preset_delete(*, user: User, slug: str) -> bool:
    """Only one's own. False when there is none."""
    return user.presets.filter(slug=slug).delete()[0] > 0


def of_request(body: dict[str, Any]) -> tuple[Content, list[str]]:
    """A stored chat request as the page shows it, and the names of what it cannot show."""
    content = Content(columns=[body["model"]])
    left_out = {name for name in body if name not in SHOWN}
    for message in body["messages"]:
        text, whole = _text_of(message.get("content"))
        extra = set(message) - {"role", "content"}
        left_out |= {f"{name} of a message" for name in extra} | (set() if whole else {"media"})
        if message["role"] in ("system", "developer") and not content.turns and not content.system:
            content.system = text
        elif message["role"] in ("user", "assistant"):
            content.turns.append(Turn(role=message["role"], text=text))
        else:
            left_out.add(f"{message['role']} messages")
    for name in PARAMETERS:
        value = body.get(name)
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, int | float | str):
            content.parameters[name] = str(value)
        elif value:
            left_out.add(name)
    content.logprobs = bool(body.get("logprobs"))
    if body.get("tools"):
        content.tools = json.dumps(body["tools"], indent=2, ensure_ascii=False)
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        schema = form["json_schema"].get("schema")
        content.schema_text = json.dumps(schema, indent=2, ensure_ascii=False)
    elif form and form.get("type") != "text":
        left_out.add("response_format")
    return content, sorted(left_out)


def _text_of(content: Any) -> tuple[str, bool]:
    """The text of a message, and whether that is all of it."""
    if not isinstance(content, list):
        return content or "", True
    texts = [part["text"] for part in content if part.get("type") == "text"]
    return "\n".join(texts), len(texts) == len(content)
