"""Answers of a given form from the real engine, through the official client."""

from __future__ import annotations

import json
import re
from typing import Any

import openai
import pytest

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "age"],
}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "maxLength": 20},
                    "unit": {"enum": ["celsius", "fahrenheit"]},
                },
                "required": ["city", "unit"],
            },
        },
    },
    {"type": "function", "function": {"name": "get_time"}},
]


def ask(client: openai.OpenAI, model: str, text: str = "Hello!", **fields: Any) -> Any:
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], max_tokens=120, **fields
    )


def text_of(reply: Any) -> str:
    assert reply.choices[0].finish_reason == "stop"
    return str(reply.choices[0].message.content)


def streamed(chunks: Any) -> tuple[str, dict[int, dict[str, str]], str]:
    """Content, calls by index, finish reason."""
    text, calls, finish = "", dict[int, dict[str, str]](), ""
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"name": "", "arguments": ""})
                call["name"] += part.function.name or ""
                call["arguments"] += part.function.arguments or ""
            finish = choice.finish_reason or finish
    return text, calls, finish


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_holds(client: openai.OpenAI, model: str, stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    reply = ask(client, model, response_format=form, temperature=1.5, seed=4, stream=stream)
    found = json.loads(streamed(reply)[0] if stream else text_of(reply))
    assert sorted(found) == ["age", "name"]
    assert 0 <= found["age"] <= 120
    assert len(found["name"]) <= 12


def test_a_json_object_is_one(client: openai.OpenAI, model: str) -> None:
    form = {"type": "json_object"}
    reply = ask(client, model, "Write some JSON.", response_format=form, seed=1)
    text = reply.choices[0].message.content
    assert text.startswith("{")
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("field", "value", "pattern"),
    [
        ("guided_regex", r"[0-9]{3}-[a-f]{2}", r"[0-9]{3}-[a-f]{2}"),
        ("guided_choice", ["red", "green"], "red|green"),
        ("guided_grammar", 'root ::= "<" [a-z]{1,5} ">"', "<[a-z]{1,5}>"),
        ("structured_outputs", {"regex": "(yes|no)!"}, "(yes|no)!"),
        ("guided_json", {"type": "integer", "minimum": 5, "maximum": 9}, "[5-9]"),
    ],
)
def test_every_spelling_holds(
    client: openai.OpenAI, model: str, field: str, value: Any, pattern: str
) -> None:
    reply = ask(client, model, extra_body={field: value}, temperature=1.8, seed=3)
    assert re.fullmatch(pattern, text_of(reply))


def test_the_older_backend_name_is_named_as_ignored(client: openai.OpenAI, model: str) -> None:
    raw = client.completions.with_raw_response.create(
        model=model, prompt="A colour:",
        extra_body={"guided_choice": ["red", "blue"], "guided_decoding_backend": "outlines"},
    )  # fmt: skip
    assert raw.headers["x-pagoda-ignored"] == "guided_decoding_backend"
    assert raw.parse().choices[0].text in ("red", "blue")


def test_a_form_that_no_check_of_ours_knows_to_be_bad_is_a_400_all_the_same(
    client: openai.OpenAI, model: str
) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot be compiled") as caught:
        ask(client, model, extra_body={"guided_regex": "[z-a]"}, stream=True)
    assert caught.value.param == "guided_regex"
    assert text_of(ask(client, model, extra_body={"guided_choice": ["ok"]})) == "ok"


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_call_comes_and_is_valid(
    client: openai.OpenAI, model: str, stream: bool
) -> None:
    reply = ask(
        client, model, "Tell me a story.", tools=TOOLS, tool_choice="required", stream=stream,
        parallel_tool_calls=False, temperature=1.5, seed=8,
    )  # fmt: skip
    if stream:
        text, calls, finish = streamed(reply)
        (call,) = calls.values()
    else:
        choice = reply.choices[0]
        text, finish = choice.message.content or "", choice.finish_reason
        (made,) = choice.message.tool_calls
        call = {"name": made.function.name, "arguments": made.function.arguments}
    assert (text, finish) == ("", "tool_calls")
    arguments = json.loads(call["arguments"])
    if call["name"] == "get_time":
        assert arguments == {}
    else:
        assert arguments["unit"] in ("celsius", "fahrenheit")


def test_a_named_call_is_that_call(client: openai.OpenAI, model: str) -> None:
    named: Any = {"type": "function", "function": {"name": "get_time"}}
    choice = ask(client, model, "How is the weather?", tools=TOOLS, tool_choice=named).choices[0]
    assert choice.finish_reason == "stop"
    assert {call.function.name for call in choice.message.tool_calls} == {"get_time"}


def test_a_form_of_the_answer_leaves_room_for_calls(client: openai.OpenAI, model: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    reply = ask(client, model, "Hello!", tools=TOOLS, response_format=form, seed=2)
    message = reply.choices[0].message
    if message.tool_calls:
        assert all(json.loads(call.function.arguments) is not None for call in message.tool_calls)
    else:
        assert sorted(json.loads(message.content)) == ["age", "name"]
