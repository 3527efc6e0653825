"""Forced calls: whatever the grammar lets a model write is read as valid calls."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from apps.api.caps import ApiCaps
from apps.api.forced_calls import form_with_calls, parser_of_calls, thought_of
from apps.api.parse import chat_of
from apps.api.parsers import ParserChoice, Tool, collect, pipeline_for
from apps.api.schemas import ChatBody
from engine.errors import InvalidRequest
from engine.structured.outputs import StructuredOutputs

END = 256
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 6},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city"],
}
FUNCTIONS: list[dict[str, Any]] = [
    {"name": "weather", "parameters": CITY},
    {"name": "now"},
    {"name": 'odd "name"', "parameters": {"type": "object", "properties": {}}},
]


def chat(**fields: Any) -> ChatBody:
    raw = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    tools = [{"type": "function", "function": function} for function in FUNCTIONS]
    return chat_of(raw | {"tools": tools} | fields, ApiCaps())[0]


def model(tool: str | None) -> Any:
    return SimpleNamespace(parsers=ParserChoice(tool, None))


def bound(body: ChatBody, tool: str) -> tuple[str, StructuredOutputs]:
    parser = parser_of_calls(body, model(tool))
    form = form_with_calls(body, parser, body.form())
    assert parser is not None
    assert form is not None
    return parser, form


def written(form: StructuredOutputs, seed: int, most: int = 1500) -> str | None:
    """A random text of the form, byte by byte; None when it does not end in time."""
    from engine.structured.bindings import compiled, compiler_for, core, tokenizer_info

    info = tokenizer_info([bytes([i]) for i in range(256)] + [b""], [END])
    matcher = core.GrammarMatcher(compiled(compiler_for(info), form), None, False, -1, None)
    mask, draws, text = np.zeros((1, 9), np.int32), np.random.default_rng(seed), bytearray()
    for _ in range(most):
        matcher.fill_next_token_bitmask(mask, 0, False)
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[: END + 1]
        bits[list(form.bars)] = 0
        allowed = np.flatnonzero(bits)
        closing = [i for i in allowed if i in (END, ord('"'), ord("}"), ord("]"))]
        likely = closing if closing and draws.random() < 0.5 else allowed
        token = int(draws.choice(likely))
        if token == END:
            return text.decode(errors="replace")
        matcher.accept_token(token, False)
        text.append(token)
    return None


def calls_in(text: str, parser: str) -> list[Any]:
    tools = [Tool(f["name"], f.get("parameters", {})) for f in FUNCTIONS]
    message = collect(pipeline_for(parser, None, tools=tools).parse_whole(text))
    assert message.content == ""
    return message.calls


@pytest.mark.parametrize("tool", ["hermes", "mistral", "llama3_json", "pythonic", "qwen3_coder"])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_required_answer_is_valid_calls(tool: str, parallel: bool) -> None:
    body = chat(tool_choice="required", parallel_tool_calls=parallel)
    parser, form = bound(body, tool)
    names = set()
    for seed in range(8):
        if (text := written(form, seed)) is None:
            continue
        calls = calls_in(text, parser)
        assert calls
        assert parallel or len(calls) == 1
        for call in calls:
            names.add(call.name)
            arguments = json.loads(call.arguments)
            if call.name == "weather":
                jsonschema.validate(arguments, CITY)
            else:
                assert arguments == {}
    assert len(names) > 1


def test_a_named_call_is_of_that_function_only() -> None:
    body = chat(tool_choice={"type": "function", "function": {"name": "now"}})
    parser, form = bound(body, "hermes")
    texts = [text for seed in range(3) if (text := written(form, seed)) is not None]
    assert texts
    calls = [call for text in texts for call in calls_in(text, parser)]
    assert {(call.name, call.arguments) for call in calls} == {("now", "{}")}


def test_a_strict_function_binds_calls_that_the_model_chooses_to_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FUNCTIONS[0], "strict", True)
    _, form = bound(chat(), "hermes")
    part = form.document()["format"]
    assert part["type"] == "triggered_tags"
    schemas = [tag["content"]["json_schema"] for tag in part["tags"]]
    assert schemas[0] == CITY
    assert schemas[1] == {"type": "object"}


def test_a_json_answer_and_calls_are_alternatives() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "null"}}}
    parser, bound_form = bound(chat(response_format=form), "hermes")
    texts = {written(bound_form, seed) for seed in range(12)}
    assert "null" in texts
    assert any(text and calls_in(text, parser) for text in texts if text != "null")


def test_formats_of_calls_that_cannot_be_forced_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="cannot be forced") as caught:
        parser_of_calls(chat(tool_choice="required"), model("gpt_oss"))
    assert caught.value.param == "tool_choice"


def test_a_forced_call_and_another_form_exclude_each_other() -> None:
    body = chat(tool_choice="required", response_format={"type": "json_object"})
    with pytest.raises(InvalidRequest, match="exclude each other"):
        form_with_calls(body, "hermes", body.form())


def test_a_schema_that_cannot_be_enforced_refuses_the_forced_call_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FUNCTIONS[0], "parameters", {"type": "object", "not": {}})
    assert form_with_calls(chat(), "hermes", None) is None
    with pytest.raises(InvalidRequest, match="'not'") as caught:
        form_with_calls(chat(tool_choice="required"), "hermes", None)
    assert caught.value.param == "tools"


def test_reasoning_may_come_first_where_the_model_reasons() -> None:
    assert thought_of(None, prompt="", thinking=True) is None
    assert thought_of("qwen3", prompt="<think>\n\n</think>\n\n", thinking=True) is None
    thought = thought_of("qwen3", prompt="assistant\n", thinking=True)
    assert thought is not None
    assert (thought.ends, thought.begun) == (("</think>",), False)
    assert thought_of("deepseek_r1", prompt="<think>\n", thinking=True).begun  # type: ignore[union-attr]
    assert thought_of("gpt_oss", prompt="", thinking=True).starts == ()  # type: ignore[union-attr]
