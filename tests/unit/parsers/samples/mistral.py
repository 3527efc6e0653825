"""Source: mistral-common instruct tokenizers: v3/v7 `[TOOL_CALLS] [{"name", "arguments", "id"}]`,
v11 `[TOOL_CALLS]name[CALL_ID]id[ARGS]{…}`, v13 without the id."""

from __future__ import annotations

import json

from tests.unit.parsers.samples.answers import Answer, Sample


def render(answer: Answer) -> str:
    if not answer.calls:
        return answer.content
    calls = [{"name": n, "arguments": a} for n, a in answer.calls]
    return f"{answer.content}[TOOL_CALLS] {json.dumps(calls, ensure_ascii=False)}"


def render_v13(answer: Answer) -> str:
    return answer.content + "".join(
        f"[TOOL_CALLS]{n}[ARGS]{json.dumps(a, ensure_ascii=False)}" for n, a in answer.calls
    )


def render_v11(answer: Answer) -> str:
    return answer.content + "".join(
        f"[TOOL_CALLS]{n}[CALL_ID]VvvODy9m{i}[ARGS]{json.dumps(a, ensure_ascii=False)}"
        for i, (n, a) in enumerate(answer.calls)
    )


SAMPLES = [
    Sample(
        "id_in_the_list",
        '[TOOL_CALLS] [{"name": "now", "arguments": {}, "id": "VvvODy9mT"}]',
        calls=[("now", {})],
    ),
    Sample(
        "encoded_twice",
        r'[TOOL_CALLS][{"name": "search", "arguments": "{\"query\": \"a\"}"}]',
        calls=[("search", {"query": "a"})],
    ),
    Sample("one_object", '[TOOL_CALLS]{"name": "now", "arguments": {}}', calls=[("now", {})]),
    Sample("args_token_hidden", "[TOOL_CALLS]now{}", calls=[("now", {})]),
    Sample("space_before_the_braces", '[TOOL_CALLS]now[ARGS] {"a": 1}', calls=[("now", {"a": 1})]),
    Sample("id_of_wrong_length", "[TOOL_CALLS]now[CALL_ID]abc[ARGS]{}", calls=[("now", {})]),
    Sample("words_after_the_list", '[TOOL_CALLS] [{"name": "now"}] ok', " ok", [("now", {})]),
    Sample("no_name", "[TOOL_CALLS][ARGS]{}", content="[TOOL_CALLS][ARGS]{}"),
    Sample("empty_list", "[TOOL_CALLS] []", content="[TOOL_CALLS] []"),
    Sample(
        "cut_in_the_second",
        '[TOOL_CALLS] [{"name": "now", "arguments": {}}, {"name": "now", "argum',
        content=', {"name": "now", "argum',
        calls=[("now", {})],
    ),
    Sample("cut", '[TOOL_CALLS]f[ARGS]{"a": "b', content='[TOOL_CALLS]f[ARGS]{"a": "b'),
    Sample("no_arguments", "[TOOL_CALLS]now", content="[TOOL_CALLS]now"),
]
