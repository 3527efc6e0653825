"""However a text is cut, and whatever it is, the pieces say the same and no parser fails."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.api.parsers import CallStart, collect
from tests.unit.parsers.families import CASES, TOOL_SAMPLES, flow, pipeline, pushed

KINDS = [
    *((tool, None) for tool in TOOL_SAMPLES),
    *((None, name) for name in ("deepseek_r1", "qwen3", "mistral", "granite", "gpt_oss")),
    ("hermes", "qwen3"),
    ("deepseek_v3", "deepseek_r1"),
]
SHREDS = [
    *("<tool_call>", "</tool_call>", "<|tool_call|>", "<function=now>", "</function>"),
    *("<parameter=a>", "</parameter>", "<|python_tag|>", "<|python_start|>", "[TOOL_CALLS]"),
    *("[ARGS]", "[CALL_ID]", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"),
    *("<｜tool▁call▁end｜>", "<think>", "</think>", "[THINK]", "[/THINK]", "<response>"),
    *("Here is my thought process:", "Here is my response:", "<|channel|>", "<|message|>"),
    *("final", "analysis", "commentary to=functions.now", "<|end|>", "<|call|>", "```json"),
    *('{"name": "now", "arguments": {', '{"name": "now"', '"arguments"', '{"a": ', "}", "{}"),
    *("now", "now(", "[now(", "a=", "'a\\", ")", "]", "[", "(", "1", "-", ".5", "true", "None"),
    *('"', "'", '"""', "\\", "\\u00", ",", ";", ":", " ", "\n", "é", "<", "｜"),
]

shreds = st.lists(st.sampled_from(SHREDS), max_size=30).map("".join)
texts = st.one_of(shreds, st.text(max_size=60))


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = draw(st.lists(st.integers(0, len(text)), max_size=12).map(sorted))
    edges = [0, *places, len(text)]
    return [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_sample_says_the_same_in_any_chunks(data: st.DataObject):
    tool, reasoning, sample = data.draw(st.sampled_from(CASES))
    chunks = data.draw(cut(sample.text))
    whole = pipeline(tool, reasoning, **sample.options).parse_whole(sample.text)
    assert flow(pushed(pipeline(tool, reasoning, **sample.options), chunks)) == flow(whole)


@pytest.mark.parametrize(("tool", "reasoning", "sample"), CASES, ids=str)
def test_a_sample_says_the_same_letter_by_letter(tool, reasoning, sample):
    whole = pipeline(tool, reasoning, **sample.options).parse_whole(sample.text)
    letters = pushed(pipeline(tool, reasoning, **sample.options), sample.text)
    assert flow(letters) == flow(whole)


@pytest.mark.parametrize(("tool", "reasoning"), KINDS, ids=str)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_garbage_says_the_same_in_any_chunks(tool, reasoning, data: st.DataObject):
    text = data.draw(texts)
    whole = pipeline(tool, reasoning).parse_whole(text)
    assert flow(pushed(pipeline(tool, reasoning), data.draw(cut(text)))) == flow(whole)
    assert flow(pushed(pipeline(tool, reasoning), text)) == flow(whole)


@pytest.mark.parametrize(("tool", "reasoning"), KINDS, ids=str)
@given(text=texts)
@settings(max_examples=60, deadline=None)
def test_complete_calls_have_an_object_and_one_start(tool, reasoning, text: str):
    pieces = pipeline(tool, reasoning).parse_whole(text)
    calls = collect(pieces).calls
    assert all(isinstance(json.loads(call.arguments), dict) for call in calls)
    starts = [piece for piece in pieces if isinstance(piece, CallStart)]
    assert [start.index for start in starts] == list(range(len(starts)))


@pytest.mark.parametrize("tool", TOOL_SAMPLES)
@given(text=texts)
@settings(max_examples=60, deadline=None)
def test_text_without_a_call_comes_through_as_written(tool, text: str):
    message = collect(pipeline(tool, None).parse_whole(text))
    if not message.calls:
        assert message.content == text
