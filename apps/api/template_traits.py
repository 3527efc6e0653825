"""What a chat template can do, found out once when its model is read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from apps.api.chat_messages import CallForm
from engine.chat_template import ChatTemplate
from engine.errors import InvalidRequest

_WORDS = re.compile(r"\w+")


def words_of(source: str) -> frozenset[str]:
    """Every name a template may read."""
    return frozenset(_WORDS.findall(source))


def model_type_of(path: Path) -> str:
    """`model_type` of a checkpoint's config.json, "" when it does not say."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    found = config.get("model_type") if isinstance(config, dict) else None
    return found if isinstance(found, str) else ""


def call_form_of(template: ChatTemplate) -> CallForm:
    """The form in which a template shows calls of earlier answers. At most four small renders."""
    for null_content in (False, True):
        for argument_text in (False, True):
            form = CallForm(argument_text=argument_text, null_content=null_content)
            if _shows_call(template, form):
                return form
    return CallForm()


def _shows_call(template: ChatTemplate, form: CallForm) -> bool:
    arguments = '{"a": 1}' if form.argument_text else {"a": 1}
    function = {"name": "probe_function", "arguments": arguments}
    call = {"id": "call00000", "type": "function", "function": function}
    content = None if form.null_content else ""
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_call_id": "call00000"},
    ]
    try:
        return "probe_function" in template.render(talk)
    except InvalidRequest:
        return False
