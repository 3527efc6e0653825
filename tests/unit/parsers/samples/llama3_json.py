"""Source: "JSON based tool calling" of the Llama 3.1 model card and chat template:
`{"name": function name, "parameters": dictionary of argument name and its value}`."""

from __future__ import annotations

import json

from tests.unit.parsers.samples.answers import Answer, Sample


def render(answer: Answer) -> str | None:
    if answer.content and answer.calls:
        return None  # the form has no words beside a call
    return answer.content or "; ".join(
        json.dumps({"name": n, "parameters": a}, ensure_ascii=False) for n, a in answer.calls
    )


NOW = '{"name": "now", "parameters": {}}'
SAMPLES = [
    Sample("python_tag", f"<|python_tag|>{NOW}", calls=[("now", {})]),
    Sample("tag_after_words", f"Sure. <|python_tag|>{NOW}", content="Sure.", calls=[("now", {})]),
    Sample(
        "tags_before_each",
        f"<|python_tag|>{NOW}; <|python_tag|>{NOW}",
        calls=[("now", {}), ("now", {})],
    ),
    Sample(
        "type_function",
        '{"type": "function", "name": "get_weather", "parameters": {"city": "Ulm"}}',
        calls=[("get_weather", {"city": "Ulm"})],
    ),
    Sample(
        "arguments_instead_of_parameters",
        '{"name": "get_weather", "arguments": {"city": "Ulm"}}',
        calls=[("get_weather", {"city": "Ulm"})],
    ),
    Sample(
        "semicolon_in_a_string",
        '{"name": "search", "parameters": {"query": "a;b; {c}"}};' + NOW,
        calls=[("search", {"query": "a;b; {c}"}), ("now", {})],
    ),
    Sample("white_space_around", f"\n\n {NOW}\n", calls=[("now", {})]),
    Sample("other_members", '{"age": 3, "name": "Bob"}', content='{"age": 3, "name": "Bob"}'),
    Sample(
        "a_name_that_is_no_tool",
        '{"name": "Bob", "parameters": {"a": 1}}',
        content='{"name": "Bob", "parameters": {"a": 1}}',
    ),
    Sample("an_empty_object", "{}", content="{}"),
    Sample("python_code", "<|python_tag|>print(1)", content="<|python_tag|>print(1)"),
    Sample(
        "cut",
        '{"name": "search", "parameters": {"query": "a',
        content='{"name": "search", "parameters": {"query": "a',
    ),
    Sample("object_after_words", f"Example: {NOW}", content=f"Example: {NOW}"),
    Sample("second_is_bad", f"{NOW}; {{oops}}", content="; {oops}", calls=[("now", {})]),
]
