"""What a client sees while the text still comes."""

from __future__ import annotations

import json

import pytest

from apps.api.parsers import (
    CallArguments,
    CallBroken,
    CallStart,
    Content,
    Piece,
    Reasoning,
    collect,
)
from tests.unit.parsers.families import flow, pipeline


def kinds(pieces: list[Piece]) -> list[type[Piece]]:
    return [type(piece) for piece in pieces]


def test_name_comes_before_the_arguments_are_complete():
    parser = pipeline("hermes", None)
    pieces = parser.push('<tool_call>{"name": "search", "arguments": {"query": "a')
    assert kinds(pieces) == [CallStart, CallArguments]
    assert pieces[1] == CallArguments(0, '{"query": "a')
    assert parser.push(" b") == [CallArguments(0, " b")]


def test_pythonic_tells_each_argument_when_it_is_complete():
    parser = pipeline("pythonic", None)
    assert kinds(parser.push("[search(query='a'")) == []
    pieces = parser.push(", limit=")
    assert flow(pieces)[1:] == [CallArguments(0, '{"query": "a"')]
    assert parser.push("3)") == [CallArguments(0, ', "limit": 3}')]


def test_a_string_parameter_streams_and_a_number_waits():
    parser = pipeline("qwen3_coder", None)
    parser.push("<tool_call>\n<function=search>\n<parameter=query>\n")
    assert parser.push('say "hi"') == [CallArguments(0, 'say \\"hi\\"')]
    parser.push("\n</parameter>\n<parameter=limit>\n")
    assert parser.push("12") == []
    assert parser.push("\n</parameter>") == [CallArguments(0, "12")]


def test_only_what_may_begin_a_marker_is_held_back():
    parser = pipeline("hermes", None)
    assert parser.push("a <tool") == [Content("a")]
    assert parser.push("box>") == [Content(" <toolbox>")]


def test_reasoning_streams_before_its_end_is_known():
    parser = pipeline("hermes", "qwen3")
    assert parser.push("<think>\nFirst") == [Reasoning("First")]
    assert parser.reasoning
    assert parser.push("</think>\n\nSo") == [Content("So")]
    assert not parser.reasoning


@pytest.mark.parametrize("thinker", ["qwen3", "deepseek_r1"])
def test_calls_inside_the_reasoning_are_not_made(thinker):
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    message = collect(pipeline("hermes", thinker).parse_whole(f"<think>{call}</think>\n{call}"))
    assert (message.reasoning, len(message.calls)) == (call, 1)


def test_a_begun_call_that_breaks_says_its_whole_source():
    text = '<tool_call>{"name": "now", "arguments": {"a": oops}}</tool_call>'
    pieces = pipeline("hermes", None).parse_whole(text)
    assert kinds(pieces) == [CallStart, CallArguments, CallBroken, Content]
    assert collect(pieces).content == text


def test_ids_are_said_once_and_differ():
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    calls = collect(pipeline("hermes", None).parse_whole(call * 2)).calls
    assert len({call.id for call in calls}) == 2
    assert all(call.id.startswith("call_") for call in calls)


def test_mistral_ids_have_nine_letters_and_digits():
    calls = collect(pipeline("mistral", None).parse_whole("[TOOL_CALLS]a{}[TOOL_CALLS]b{}")).calls
    assert len({call.id for call in calls}) == 2
    assert all(len(call.id) == 9 and call.id.isalnum() and call.id.isascii() for call in calls)


def test_mistral_keeps_the_models_id():
    text = "[TOOL_CALLS]now[CALL_ID]VvvODy9mT[ARGS]{}"
    assert collect(pipeline("mistral", None).parse_whole(text)).calls[0].id == "VvvODy9mT"


def test_without_parallel_calls_the_first_is_shown_alone():
    text = "[TOOL_CALLS]now{}[TOOL_CALLS]search{}"
    parser = pipeline("mistral", None, parallel=False)
    assert [call.name for call in collect(parser.parse_whole(text)).calls] == ["now"]
    assert parser.num_calls == 1


def test_without_parsers_all_is_content():
    text = "<think>a</think>[TOOL_CALLS]"
    assert pipeline(None, None).parse_whole(text) == [Content(text)]


def test_huge_numbers_and_sizes_in_a_literal_are_content():
    for text in (f"[tune(ratio={'9' * 100})]", f"[search(query='{'a' * 300_000}')]"):
        assert collect(pipeline("pythonic", None).parse_whole(text)).content == text


def test_arguments_keep_the_models_own_spelling():
    text = '<tool_call>{"name": "tune", "arguments": { "ratio" : 1.50 }}</tool_call>'
    [call] = collect(pipeline("hermes", None).parse_whole(text)).calls
    assert call.arguments == '{ "ratio" : 1.50 }'
    assert json.loads(call.arguments) == {"ratio": 1.5}
