"""Source: chat templates of ibm-granite/granite-3.0-8b-instruct (`<|tool_call|>` and a JSON list),
granite-3.1 (`<tool_call>` and a list) and granite-20b-functioncalling (`<function_call>`)."""

from __future__ import annotations

import json

from tests.unit.parsers.samples.answers import Answer, Sample


def as_list(answer: Answer) -> str:
    return json.dumps([{"name": n, "arguments": a} for n, a in answer.calls], ensure_ascii=False)


def render(answer: Answer) -> str:
    return answer.content + (f"<|tool_call|>{as_list(answer)}" if answer.calls else "")


def render_31(answer: Answer) -> str:
    return answer.content + (f"<tool_call>{as_list(answer)}" if answer.calls else "")


def render_20b(answer: Answer) -> str:
    return answer.content + "".join(
        "<function_call> " + json.dumps({"name": n, "arguments": a}, ensure_ascii=False)
        for n, a in answer.calls
    )


NOW = '{"name": "now", "arguments": {}}'
SAMPLES = [
    Sample("closed", f"<tool_call>\n{NOW}\n</tool_call>", calls=[("now", {})]),
    Sample("two_tokens", f"<|tool_call|>[{NOW}]<|tool_call|>[{NOW}]", calls=[("now", {})] * 2),
    Sample("white_space", f"<|tool_call|> [\n {NOW} ,\n {NOW} ]", calls=[("now", {})] * 2),
    Sample("words_after", f"<|tool_call|>[{NOW}] ok", content="ok", calls=[("now", {})]),
    Sample("empty_list", "<|tool_call|>[]", content="<|tool_call|>[]"),
    Sample("comma_at_the_end", f"<|tool_call|>[{NOW},]", content=",]", calls=[("now", {})]),
    Sample("not_json", "<|tool_call|>now()", content="<|tool_call|>now()"),
    Sample(
        "cut",
        '<|tool_call|>[{"name": "f", "arguments": {"a": t',
        content='<|tool_call|>[{"name": "f", "arguments": {"a": t',
    ),
    Sample(
        "no_name", '<|tool_call|>[{"arguments": {}}]', content='<|tool_call|>[{"arguments": {}}]'
    ),
]
