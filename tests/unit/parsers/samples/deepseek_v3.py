"""Source: chat templates of deepseek-ai/DeepSeek-V3-0324 (type, separator, name, fenced JSON) and
deepseek-ai/DeepSeek-V3.1 (name, separator, JSON)."""

from __future__ import annotations

import json

from tests.unit.parsers.samples.answers import Answer, Sample

OPEN, CLOSE = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, END, SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"


def block(name: str, arguments: str) -> str:
    return f"{CALL}function{SEP}{name}\n```json\n{arguments}\n```{END}"


def render(answer: Answer) -> str:
    calls = [block(n, json.dumps(a, ensure_ascii=False)) for n, a in answer.calls]
    return answer.content + (f"{OPEN}{chr(10).join(calls)}{CLOSE}" if calls else "")


def render_v31(answer: Answer) -> str:
    calls = [f"{CALL}{n}{SEP}{json.dumps(a, ensure_ascii=False)}{END}" for n, a in answer.calls]
    return answer.content + (f"{OPEN}{''.join(calls)}{CLOSE}" if calls else "")


SAMPLES = [
    Sample("no_closing_token", f"{OPEN}{block('now', '{}')}", calls=[("now", {})]),
    Sample("no_opening_token", block("now", "{}"), calls=[("now", {})]),
    Sample(
        "fence_without_language",
        f"{OPEN}{CALL}function{SEP}now\n```\n{{}}\n```{END}{CLOSE}",
        calls=[("now", {})],
    ),
    Sample(
        "tool_called_function",
        f"{OPEN}{CALL}function{SEP}{{}}{END}{CLOSE}",
        calls=[("function", {})],
    ),
    Sample(
        "words_after", f"A{OPEN}{block('now', '{}')}{CLOSE}B", content="AB", calls=[("now", {})]
    ),
    Sample(
        "many_lines",
        f"{OPEN}{block('f', '{' + chr(10) + ' ' + chr(34) + 'a' + chr(34) + ': 1}')}",
        calls=[("f", {"a": 1})],
    ),
    Sample(
        "bad_json", f"{OPEN}{block('f', '{a}')}{CLOSE}", content=f"{OPEN}{block('f', '{a}')}{CLOSE}"
    ),
    Sample(
        "no_fence",
        f"{OPEN}{CALL}function{SEP}f\n{{}}{END}",
        content=f"{OPEN}{CALL}function{SEP}f\n{{}}{END}",
    ),
    Sample("no_call", f"{OPEN}{CLOSE}", content=f"{OPEN}{CLOSE}"),
    Sample(
        "cut_in_the_name",
        f"{OPEN}{CALL}function{SEP}get_",
        content=f"{OPEN}{CALL}function{SEP}get_",
    ),
    Sample("token_begun", "a<｜tool▁", content="a<｜tool▁"),
    Sample("list_as_arguments", f"{CALL}f{SEP}[1]{END}", content=f"{CALL}f{SEP}[1]{END}"),
]
