"""The work grows with the text and not faster: counted in executed lines, never in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from apps.api import parsers
from apps.api.parsers import collect
from apps.api.parsers.source import Source
from tests.unit.parsers.families import pipeline

LARGE, SMALL = 102_400, 6_000  # characters
LINES_PER_CHARACTER = 14  # times 100 KiB: about what an idle core runs in 50 ms
SOURCES = str(Path(parsers.__file__).parent)

NASTY = [
    ("hermes", None, "<tool_call>"),
    ("hermes", None, "<tool_cal"),
    ("hermes", None, '<tool_call>{"name": "f", "arguments": {"a": ['),
    ("hermes", None, '<tool_call>{"a":1,"a":1,"a":1,'),
    ("hermes", None, " "),
    ("llama3_json", None, '<|python_tag|>{"name": "now"};'),
    ("mistral", None, '[TOOL_CALLS][{"name": "now"},'),
    ("mistral", None, "[TOOL_CALLS]a"),
    ("pythonic", None, "<|python_start|>[now(a=[1,1,1,1,"),
    ("pythonic", None, "<|python_start|>[now(a='\\\\'"),
    ("qwen3_coder", None, "<function=now><parameter=a>\n"),
    ("qwen3_coder", None, "</parameter"),
    ("deepseek_v3", None, "<｜tool▁call▁begin｜>a<｜tool▁sep｜>{"),
    ("granite", None, '<|tool_call|>[{"name": "now"},'),
    ("hermes", "qwen3", "<think></think>"),
    (None, "granite", "Here is my response"),
    (None, "gpt_oss", "<|channel|>"),
    (None, "gpt_oss", "<|channel|>final<|message|>"),
]
ONE_VALUE = [  # a single form that fills the text
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": [', "1,"),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": "', "\\n"),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1', "1"),
    ("llama3_json", '{"parameters": {"a": [', "{},"),
    ("pythonic", "[now(a=[", "1,"),
    ("pythonic", "[now(a='", "\\x41"),
    ("qwen3_coder", "<function=now><parameter=a>", "\n"),
]


def lines_run(action: Callable[[], Any]) -> int:
    """Lines of the parsers' code that `action` executes."""
    count = 0

    def on_line(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return on_line

    def on_call(frame: FrameType, event: str, arg: object) -> Any:
        return on_line if frame.f_code.co_filename.startswith(SOURCES) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def parse(tool: str | None, reasoning: str | None, chunks: Iterable[str]) -> None:
    parser = pipeline(tool, reasoning)
    for chunk in chunks:
        parser.push(chunk)
    parser.finish()


def filled(opening: str, unit: str, size: int) -> str:
    return (opening + unit * (size // len(unit) + 1))[:size]


@pytest.mark.parametrize(("tool", "reasoning", "unit"), NASTY, ids=str)
def test_broken_forms_in_one_chunk_cost_few_lines_a_character(tool, reasoning, unit):
    lines = lines_run(lambda: parse(tool, reasoning, [filled("", unit, SMALL)]))
    assert lines <= LINES_PER_CHARACTER * SMALL


@pytest.mark.parametrize(("tool", "opening", "unit"), ONE_VALUE, ids=str)
def test_one_long_value_costs_few_lines_a_character(tool, opening, unit):
    lines = lines_run(lambda: parse(tool, None, [filled(opening, unit, SMALL)]))
    assert lines <= LINES_PER_CHARACTER * SMALL


@pytest.mark.parametrize("nasty", [0, 2, 6], ids=lambda place: NASTY[place][2])
def test_a_hundred_kib_cost_as_few_lines_a_character_as_a_little_text(nasty):
    tool, reasoning, unit = NASTY[nasty]
    lines = lines_run(lambda: parse(tool, reasoning, [filled("", unit, LARGE)]))
    assert lines <= LINES_PER_CHARACTER * LARGE


@pytest.mark.parametrize(("tool", "reasoning", "unit"), NASTY, ids=str)
def test_letter_by_letter_twice_the_text_is_twice_the_work(tool, reasoning, unit):
    small, large = (
        lines_run(lambda size=size: parse(tool, reasoning, filled("", unit, size)))
        for size in (800, 1_600)
    )
    assert large <= 2.1 * small


@pytest.mark.parametrize(("tool", "reasoning", "unit"), NASTY, ids=str)
def test_between_chunks_only_a_markers_length_is_unread(tool, reasoning, unit, monkeypatch):
    kept: list[int] = []
    settle = Source.settle

    def settled(source: Source) -> None:
        settle(source)
        kept.append(len(source.text))

    monkeypatch.setattr(Source, "settle", settled)
    parse(tool, reasoning, filled("", unit, 1_000))
    assert max(kept) < 32


def test_a_hundred_kib_of_arguments_come_through_whole():
    value = "x" * LARGE
    text = f'<tool_call>{{"name": "now", "arguments": {{"a": "{value}"}}}}</tool_call>'
    [call] = collect(pipeline("hermes", None).parse_whole(text)).calls
    assert call.arguments == f'{{"a": "{value}"}}'
