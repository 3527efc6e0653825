"""Tool calls that must come, or must be right: their form as a grammar, and where it begins.

`tool_choice` required or named makes every answer a list of calls. Models that write calls as
hermes does write them so here too; all others write one JSON list, which `JsonCallsParser` reads.
"""

from __future__ import annotations

import json
from typing import Any

from apps.api.model_texts import ModelText
from apps.api.parsers import reasoning_parser
from apps.api.parsers.gpt_oss import CHANNEL, MESSAGE
from apps.api.parsers.registry import GPT_OSS
from apps.api.schemas import ChatBody
from apps.api.tools import Function
from engine.errors import InvalidRequest
from engine.structured.outputs import HARD_CAPS, StructuredOutputs, Thought

NATIVE = "hermes"
JSON_CALLS = "json_calls"
OPENING, CLOSING = '<tool_call>\n{"name": ', "}\n</tool_call>"
_BLANKS = 1  # in a row: calls are written compactly
_JSON_FORMS = ("json", "json_object")
_NO_ARGUMENTS = {"type": "const_string", "value": "{}"}
_NOTES = ("title", "description", "$schema", "strict")  # words of a schema that bind nothing


def parser_of_calls(body: ChatBody, text: ModelText) -> str | None:
    """The parser for this answer. Raises `InvalidRequest` where calls cannot be forced."""
    own = text.parsers.tool if body.offered else None
    if not body.must_call or own == NATIVE:
        return own
    if own in GPT_OSS:
        raise InvalidRequest(
            "'tool_choice' must be 'auto' or 'none' for this model: its format of calls cannot be "
            "forced.",
            param="tool_choice",
        )
    return JSON_CALLS


def form_with_calls(
    body: ChatBody, parser: str | None, form: StructuredOutputs | None
) -> StructuredOutputs | None:
    """The constraint on the whole answer: the calls', and beside them the one on its text.

    Raises `InvalidRequest` for schemas that cannot be enforced.
    """
    if body.must_call and form is not None:
        raise InvalidRequest(
            f"'{form.field}' and a forced tool call exclude each other: set tool_choice to 'auto' "
            "or 'none'.",
            param=form.field,
        )
    functions = [tool.function for tool in body.callable_tools]
    if body.must_call:
        made = _hermes if parser == NATIVE else _json_list
        return _checked(made(functions, once=not body.parallel_tool_calls), "tools")
    if parser != NATIVE:
        return form
    if form is not None and form.kind in _JSON_FORMS:
        schema = form.document() if form.kind == "json" else {"type": "object"}
        answer = {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": _BLANKS}
        calls = _hermes(functions, once=not body.parallel_tool_calls)
        return _checked({"type": "or", "elements": [answer, calls]}, form.field)
    if form is None and any(function.strict for function in functions):
        return _checked(_strict(functions), "tools")
    return form


def thought_of(parser: str | None, *, prompt: str, thinking: bool) -> Thought | None:
    """What may come before a constrained text, from the name of a reasoning parser."""
    if parser is None:
        return None
    if parser in GPT_OSS:
        return Thought((), (f"{CHANNEL}final{MESSAGE}",), begun=True)
    thinker = reasoning_parser(parser)(prompt=prompt, thinking=thinking)
    return Thought(thinker.starts, thinker.ends, thinker.begun) if thinker.reasoning else None


def _hermes(functions: list[Function], *, once: bool) -> dict[str, Any]:
    return {
        "type": "tags_with_separator",
        "tags": [_tag(f, OPENING, CLOSING) for f in functions],
        "separator": "\n",
        "at_least_one": True,
        "stop_after_first": once,
    }


def _json_list(functions: list[Function], *, once: bool) -> dict[str, Any]:
    calls = {
        "type": "tags_with_separator",
        "tags": [_tag(function, '{"name": ', "}") for function in functions],
        "separator": ", ",
        "at_least_one": True,
        "stop_after_first": once,
    }
    ends = [{"type": "const_string", "value": mark} for mark in "[]"]
    return {"type": "sequence", "elements": [ends[0], calls, ends[1]]}


def _strict(functions: list[Function]) -> dict[str, Any]:
    """Free text; what begins as a call must be one. Only strict schemas bind its arguments."""
    anything = {"type": "object"}
    loose = [f if f.strict else Function(name=f.name, parameters=anything) for f in functions]
    return {
        "type": "triggered_tags",
        "triggers": ["<tool_call>"],
        "tags": [_tag(function, OPENING, CLOSING) for function in loose],
    }


def _tag(function: Function, opening: str, end: str) -> dict[str, Any]:
    name = json.dumps(function.name, ensure_ascii=False)
    schema = {"type": "object"} | (function.parameters or {"properties": {}})
    return {
        "type": "tag",
        "begin": f'{opening}{name}, "arguments": ',
        "content": _NO_ARGUMENTS
        if _takes_nothing(schema)
        else {
            "type": "json_schema",
            "json_schema": schema,
            "max_whitespace_cnt": _BLANKS,
        },
        "end": end,
    }


def _takes_nothing(schema: dict[str, Any]) -> bool:
    """An object without properties means no parameters, unless it says that others may come."""
    return (
        schema.get("type") == "object"
        and schema.get("properties") == {}
        and not schema.get("required")
        and schema.get("additionalProperties", False) is False
        and schema.keys() <= {"type", "properties", "required", "additionalProperties", *_NOTES}
    )


def _checked(part: dict[str, Any], field: str) -> StructuredOutputs:
    tag = {"type": "structural_tag", "format": part}
    form = StructuredOutputs(structural_tag=tag, field=field)
    form.check(HARD_CAPS)  # of all tools together
    form.check_form()
    return form
