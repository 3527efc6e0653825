"""What a chat template can do, found out once when its model is read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from apps.api.chat_messages import Parts, TemplateForm
from engine.errors import InvalidRequest
from engine.template_process import ChildTemplate

_FORMATS: dict[str, Parts] = {"string": "join", "openai": "wrap"}
_WORDS = re.compile(r"\w+")
THINKING_SWITCHES = ("enable_thinking", "thinking")  # names that templates use


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


def template_form_of(template: ChildTemplate, content_format: str = "auto") -> TemplateForm:
    """The form in which a template shows contents and earlier calls. At most six small renders."""
    parts = _FORMATS.get(content_format) or _parts_of(template)
    for null_content in (False, True):
        for argument_text in (False, True):
            form = TemplateForm(argument_text=argument_text, null_content=null_content, parts=parts)
            if _shows_call(template, form):
                return form
    return TemplateForm(parts=parts)


def thinks_unasked(template: ChildTemplate, words: frozenset[str], form: TemplateForm) -> bool:
    """Whether the model may reason where nobody said: the template then shows what it shows with
    its switch on. Without a switch nothing is known against it. At most two small renders."""
    switch = next((name for name in THINKING_SWITCHES if name in words), None)
    if switch is None:
        return True
    talk = [{"role": "user", "content": _asked(form)}]
    said: dict[str, Any] = {switch: True}
    try:
        return template.render(talk) == template.render(talk, **said)
    except InvalidRequest:
        return True


def _asked(form: TemplateForm) -> Any:
    return [{"type": "text", "text": "x"}] if form.parts == "wrap" else "x"


def _parts_of(template: ChildTemplate) -> Parts:
    """How contents reach the template: it may show lists of parts, and may be lost without."""
    part = {"type": "text", "text": "probe text"}
    if not _shows_content(template, [part]):
        return "join"
    return "keep" if _shows_content(template, "probe text") else "wrap"


def _shows_content(template: ChildTemplate, content: Any) -> bool:
    try:
        text = template.render([{"role": "user", "content": content}])
    except InvalidRequest:
        return False
    return "probe text" in text and "'type'" not in text and '"type"' not in text


def _shows_call(template: ChildTemplate, form: TemplateForm) -> bool:
    arguments = '{"a": 1}' if form.argument_text else {"a": 1}
    function = {"name": "probe_function", "arguments": arguments}
    call = {"id": "call00000", "type": "function", "function": function}
    content = None if form.null_content else ""
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": _asked(form)},
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_call_id": "call00000"},
    ]
    try:
        return "probe_function" in template.render(talk)
    except InvalidRequest:
        return False
