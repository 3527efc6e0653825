"""Source: chat template of Qwen/Qwen3-Coder-30B-A3B-Instruct: `<tool_call>`, `<function=NAME>`,
`<parameter=KEY>` with the value on lines of its own, each closed, every tag on its own line."""

from __future__ import annotations

import json

from tests.unit.parsers.samples.answers import Answer, Sample


def render(answer: Answer) -> str:
    blocks = [answer.content] if answer.content else []
    for name, arguments in answer.calls:
        lines = ["<tool_call>", f"<function={name}>"]
        for key, value in arguments.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines += [f"<parameter={key}>", text, "</parameter>"]
        blocks.append("\n".join([*lines, "</function>", "</tool_call>"]))
    return "\n".join(blocks)


def one(name: str, key: str, value: str) -> str:
    parameter = f"<parameter={key}>{value}</parameter>"
    return f"<tool_call>\n<function={name}>\n{parameter}\n</function>\n</tool_call>"


CUT = "<tool_call>\n<function=search>\n<parameter=query>\nab"
SAMPLES = [
    Sample("one_line", one("search", "query", "a b"), calls=[("search", {"query": "a b"})]),
    Sample(
        "blank_lines_stay",
        one("search", "query", "\n\na\n\n"),
        calls=[("search", {"query": "\na\n"})],
    ),
    Sample(
        "digits_for_a_string", one("search", "query", "\n12\n"), calls=[("search", {"query": "12"})]
    ),
    Sample("integer", one("search", "limit", "\n 12\n"), calls=[("search", {"limit": 12})]),
    Sample(
        "float_that_is_whole", one("search", "limit", "12.0"), calls=[("search", {"limit": 12})]
    ),
    Sample("not_an_integer", one("search", "limit", "many"), calls=[("search", {"limit": "many"})]),
    Sample("none_in_python", one("search", "limit", "None"), calls=[("search", {"limit": None})]),
    Sample("true_in_python", one("tune", "on", "\nTrue\n"), calls=[("tune", {"on": True})]),
    Sample("null_or_string", one("tune", "note", "nullify"), calls=[("tune", {"note": "nullify"})]),
    Sample("number", one("tune", "ratio", "-1.5e3"), calls=[("tune", {"ratio": -1500.0})]),
    Sample(
        "python_dict",
        one("search", "filters", "{'a': None}"),
        calls=[("search", {"filters": {"a": None}})],
    ),
    Sample("broken_object", one("search", "filters", "{a"), calls=[("search", {"filters": "{a"})]),
    Sample("unknown_parameter", one("search", "x", "1"), calls=[("search", {"x": "1"})]),
    Sample("unknown_tool", one("boom", "x", "1"), calls=[("boom", {"x": "1"})]),
    Sample(
        "tags_in_a_value",
        one("search", "query", "<b></function>"),
        calls=[("search", {"query": "<b></function>"})],
    ),
    Sample("enum", one("get_weather", "unit", "\nF\n"), calls=[("get_weather", {"unit": "F"})]),
    Sample("no_outer_tag", "<function=now>\n</function>", calls=[("now", {})]),
    Sample(
        "no_outer_tag_no_tool", "<function=x>\n</function>", content="<function=x>\n</function>"
    ),
    Sample("cut_in_a_value", CUT, content=CUT),
    Sample("cut_in_the_name", "<tool_call>\n<function=sea", content="<tool_call>\n<function=sea"),
    Sample("no_function_end", one("now", "a", "b")[:30], content=one("now", "a", "b")[:30]),
    Sample(
        "json_inside",
        '<tool_call>{"name": "now"}</tool_call>',
        content='<tool_call>{"name": "now"}</tool_call>',
    ),
]
