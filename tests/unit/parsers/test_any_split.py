"""However a text is cut, and whatever it is, the pieces say the same and no parser fails."""

from __future__ import annotations

import json
from itertools import pairwise

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
PARSERS = KINDS[:12]
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


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    return [text[a:b] for a, b in pairwise([0, *places, len(text)])]


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """The text with a few pieces replaced by markers, or only markers."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        gone = draw(st.sampled_from((0, 0, 1, 2, 5, 20)))
        text = text[:start] + draw(st.sampled_from(SHREDS)) + text[start + gone :]
    return text


GARBAGE = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from(SHREDS), max_size=20).map("".join)
)


@pytest.mark.parametrize("parser", PARSERS, ids=str)
def test_samples_say_the_same_letter_by_letter(parser):
    for tool, reasoning, sample in CASES:
        if (tool, reasoning) == parser:
            whole = pipeline(tool, reasoning, **sample.options).parse_whole(sample.text)
            letters = pushed(pipeline(tool, reasoning, **sample.options), sample.text)
            assert flow(letters) == flow(whole), sample.name


def checked(tool: str | None, reasoning: str | None, text: str, chunks: list[str]) -> None:
    """What holds for every text and every way to cut it."""
    whole = pipeline(tool, reasoning).parse_whole(text)
    assert flow(pushed(pipeline(tool, reasoning), chunks)) == flow(whole)
    message = collect(whole)
    assert all(isinstance(json.loads(call.arguments), dict) for call in message.calls)
    starts = [piece for piece in whole if isinstance(piece, CallStart)]
    assert [start.index for start in starts] == list(range(len(starts)))
    if tool and not reasoning and not message.calls:
        assert message.content == text


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_sample_fails_no_parser_and_is_lost_nowhere(data: st.DataObject):
    tool, reasoning, sample = data.draw(st.sampled_from(CASES))
    text = data.draw(damaged(sample.text))
    checked(tool, reasoning, text, data.draw(cut(text)))


@given(st.sampled_from(KINDS), GARBAGE)
@settings(max_examples=150, deadline=None)
def test_garbage_fails_no_parser_and_is_lost_nowhere(kind, text: str):
    checked(*kind, text, list(text))
