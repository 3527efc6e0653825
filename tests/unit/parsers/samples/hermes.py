"""Source: tool-use chat template of NousResearch/Hermes-2-Pro-Llama-3-8B; Qwen2.5 and Qwen3 write
the same: `<tool_call>` newline, JSON of name and arguments, newline `</tool_call>`."""

from __future__ import annotations

import json

from tests.unit.parsers.samples.answers import Answer, Sample


def render(answer: Answer) -> str:
    blocks = [
        f"<tool_call>\n{json.dumps({'name': n, 'arguments': a}, ensure_ascii=False)}\n</tool_call>"
        for n, a in answer.calls
    ]
    return "\n".join([answer.content, *blocks] if answer.content else blocks)


NOW = '{"name": "now", "arguments": {}}'
SAMPLES = [
    Sample("compact", '<tool_call>{"name":"now","arguments":{}}</tool_call>', calls=[("now", {})]),
    Sample(
        "arguments_first",
        '<tool_call>\n{"arguments": {"city": "Paris"}, "name": "get_weather"}\n</tool_call>',
        calls=[("get_weather", {"city": "Paris"})],
    ),
    Sample("no_arguments", '<tool_call>{"name": "now"}</tool_call>', calls=[("now", {})]),
    Sample(
        "null_arguments",
        '<tool_call>{"name": "now", "arguments": null}</tool_call>',
        calls=[("now", {})],
    ),
    Sample(
        "encoded_twice",
        r'<tool_call>{"name": "search", "arguments": "{\"query\": \"a\\nb\"}"}</tool_call>',
        calls=[("search", {"query": "a\nb"})],
    ),
    Sample(
        "escaped_characters",
        r'<tool_call>{"name": "search", "arguments": {"query": "\u00e9\t\"\/"}}</tool_call>',
        calls=[("search", {"query": 'é\t"/'})],
    ),
    Sample("no_closing_tag", f"<tool_call>\n{NOW}\n", calls=[("now", {})]),
    Sample(
        "last_brace_missing",
        '<tool_call>\n{"name": "now", "arguments": {}\n</tool_call>\nDone.',
        content="\nDone.",
        calls=[("now", {})],
    ),
    Sample(
        "words_after",
        f"A\n\n<tool_call>{NOW}</tool_call>\nB\n",
        content="A\nB\n",
        calls=[("now", {})],
    ),
    Sample(
        "bad_json",
        "<tool_call>{name: now}</tool_call>",
        content="<tool_call>{name: now}</tool_call>",
    ),
    Sample(
        "cut_in_the_arguments",
        'Hm <tool_call>{"name": "search", "arguments": {"query": "abc',
        content='Hm <tool_call>{"name": "search", "arguments": {"query": "abc',
    ),
    Sample(
        "bad_arguments_then_a_good_call",
        '<tool_call>{"name": "f", "arguments": {"a" 1}}</tool_call>'
        f"<tool_call>{NOW}</tool_call>",
        content='<tool_call>{"name": "f", "arguments": {"a" 1}}</tool_call>',
        calls=[("now", {})],
    ),
    Sample(
        "list_as_arguments",
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
        content='<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
    ),
    Sample("empty", "<tool_call></tool_call>", content="<tool_call></tool_call>"),
    Sample("tag_begun", "a <tool_ca", content="a <tool_ca"),
    Sample("blank_name", '<tool_call>{"name": " "}', content='<tool_call>{"name": " "}'),
]
