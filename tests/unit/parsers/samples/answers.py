"""Answers that every family can write, and the shape of a sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from apps.api.parsers import Tool

Calls = list[tuple[str, dict[str, Any]]]

TOOLS = [
    Tool(
        "get_weather",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
            },
        },
    ),
    Tool(
        "search",
        {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "filters": {"type": "object"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
        },
    ),
    Tool("now", {"type": "object", "properties": {}}),
    Tool(
        "write_file",
        {"properties": {"path": {"type": "string"}, "text": {"type": "string"}}},
    ),
    Tool(
        "tune",
        {
            "properties": {
                "on": {"type": "boolean"},
                "ratio": {"type": "number"},
                "note": {"type": ["string", "null"]},
            }
        },
    ),
]


@dataclass(frozen=True)
class Sample:
    """A text as the model writes it, and what it says."""

    name: str
    text: str
    content: str = ""
    calls: Calls = field(default_factory=list)
    reasoning: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Answer:
    name: str
    content: str
    calls: Calls


CODE = 'def f(x):\n    if x < 3 and x > 1:\n        return {"k": [x]}  # a \\ b\n'

ANSWERS = [
    Answer("words_only", "The sky is blue; 2 < 3 [sic] and {x} stays.", []),
    Answer("one_call", "", [("get_weather", {"city": "Paris", "days": 3})]),
    Answer("no_parameters", "", [("now", {})]),
    Answer("words_then_call", "Let me look.", [("get_weather", {"city": "Rome"})]),
    Answer(
        "two_calls",
        "",
        [("get_weather", {"city": "Oslo", "unit": "C"}), ("search", {"query": "fjord"})],
    ),
    Answer("same_tool_twice", "", [("get_weather", {"city": c}) for c in ("Bern", "Biel")]),
    Answer("unicode", "", [("search", {"query": "naïve 東京 🦊 ｜▁", "tags": ["é", "ß"]})]),
    Answer("quotes", "", [("search", {"query": 'say "it\'s" \\ done; (now), [x]'})]),
    Answer("code", "", [("write_file", {"path": "a/b.py", "text": CODE})]),
    Answer(
        "nested",
        "",
        [("search", {"query": "q", "filters": {"a": {"b": [1, {"c": []}]}, "d": {}}})],
    ),
    Answer("numbers", "", [("tune", {"ratio": -0.25}), ("search", {"query": "n", "limit": -7})]),
    Answer("true_and_null", "", [("tune", {"on": True, "note": None}), ("tune", {"on": False})]),
    Answer("empty_string", "", [("write_file", {"path": "", "text": ""})]),
    Answer(
        "three_calls",
        "",
        [("now", {}), ("search", {"query": "a", "tags": [], "limit": None}), ("now", {})],
    ),
]
