"""Source: OpenAI harmony response format (openai/gpt-oss chat template): channels analysis,
commentary and final; a call is a commentary message `to=functions.NAME` that ends in `<|call|>`."""

from __future__ import annotations

import json

from tests.unit.parsers.samples.answers import Answer, Sample

NEXT = "<|start|>assistant"
THOUGHT = "<|channel|>analysis<|message|>Hm {x} <b>.<|end|>"


def render(answer: Answer) -> str:
    """Every answer thinks `Hm {x} <b>.` first."""
    parts = [THOUGHT]
    if answer.content:
        channel = "commentary" if answer.calls else "final"
        parts.append(f"{NEXT}<|channel|>{channel}<|message|>{answer.content}<|end|>")
    for name, arguments in answer.calls:
        header = f"{NEXT}<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>"
        parts.append(f"{header}{json.dumps(arguments, ensure_ascii=False)}<|call|>")
    return "".join(parts)


REASONING = "Hm {x} <b>."
TO_NOW = "<|channel|>commentary to=functions.now<|message|>"
SAMPLES = [
    Sample("final_only", "<|channel|>final<|message|>Hi<|return|>", content="Hi"),
    Sample("end_token_hidden", "<|channel|>final<|message|>Hi", content="Hi"),
    Sample(
        "recipient_in_the_role",
        f"{NEXT} to=functions.now<|channel|>commentary json<|message|>{{}}<|call|>",
        calls=[("now", {})],
    ),
    Sample("call_token_hidden", TO_NOW + '{"a": 1}', calls=[("now", {"a": 1})]),
    Sample("empty_arguments", TO_NOW + "<|call|>", calls=[("now", {})]),
    Sample(
        "end_missing_between",
        "<|channel|>analysis<|message|>a<|channel|>final<|message|>b",
        content="b",
        reasoning="a",
    ),
    Sample("thinking_cut", "<|channel|>analysis<|message|>a b", reasoning="a b"),
    Sample("no_form_at_all", "Plain < words |>", content="Plain < words |>"),
    Sample("header_cut", "<|channel|>fin", content="<|channel|>fin"),
    Sample("bad_json", f"{TO_NOW}{{a}}<|call|>", content=f"{TO_NOW}{{a}}<|call|>"),
    Sample("arguments_cut", TO_NOW + '{"a": "', content=TO_NOW + '{"a": "'),
    Sample(
        "words_after_the_json",
        f"{TO_NOW}{{}} and<|call|>",
        content=" and<|call|>",
        calls=[("now", {})],
    ),
    Sample(
        "python_tool_is_thinking",
        "<|channel|>analysis to=python <|constrain|>code<|message|>1+1<|call|>",
        reasoning="1+1",
    ),
    Sample("long_header", "<|channel|>" + "x" * 600, content="<|channel|>" + "x" * 600),
]
