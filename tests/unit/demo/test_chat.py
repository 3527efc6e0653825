"""The chat template in a sandbox, the renderer beside it, and the parser of replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

import demo
from demo.corpus.chat import parse, prompt, render
from demo.corpus.conversation import training
from demo.corpus.core import Message

HERE = Path(demo.__file__).parent


def template() -> Any:
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    config = json.loads((HERE / "pagoda-demo" / "tokenizer_config.json").read_text())
    return env.from_string(config["chat_template"])


def test_renderer_writes_what_the_template_writes() -> None:
    compiled = template()
    for example in training(1, 2, 400):
        tools = example.tools or None
        written = compiled.render(
            messages=example.messages, tools=tools, enable_thinking=example.thinking
        )
        assert render(example.messages, example.tools, thinking=example.thinking) == written
        opened = compiled.render(
            messages=example.messages[:-1],
            tools=tools,
            enable_thinking=example.thinking,
            add_generation_prompt=True,
        )
        assert prompt(example) == opened


def test_template_reads_openai_tool_calls_and_content_parts() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "1", "content": "2"},
        {"role": "tool", "tool_call_id": "1", "content": "3"},
    ]
    written = template().render(
        messages=messages, tools=[{"type": "function"}], add_generation_prompt=True
    )
    one = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    assert written.startswith(
        "<|im_start|>system\nBe brief.\n\nYou can call these functions:\n<tools>\n"
    )
    assert (
        f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{one}\n{one}<|im_end|>\n"
        in written
    )
    results = "\n<tool_response>\n2\n</tool_response>\n<tool_response>\n3\n</tool_response>"
    assert written.endswith(f"<|im_start|>user{results}<|im_end|>\n<|im_start|>assistant\n")


def test_reasoning_is_kept_after_the_last_question_only() -> None:
    messages: list[dict[str, str]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning": "old"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "reasoning": "new"},
    ]
    written = template().render(messages=messages, enable_thinking=True)
    assert "old" not in written
    assert "<think>\nnew\n</think>\n\nd<|im_end|>" in written


def test_both_models_carry_the_same_tokenizer() -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (HERE / "pagoda-demo" / name).read_bytes() == (
            HERE / "pagoda-demo-draft" / name
        ).read_bytes()


def test_a_reply_is_taken_apart() -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    answer = parse(f"<think>\nwell\n</think>\n\nText {call}\n{call}")
    assert (answer.content, answer.reasoning) == ("Text", "well")
    assert answer.calls == [{"name": "f", "arguments": {"a": 1}}] * 2


@pytest.mark.parametrize("body", ["{", '{"name": "f"}', "[1]"])
def test_a_broken_call_is_no_call(body: str) -> None:
    assert parse(f"<tool_call>{body}</tool_call>").calls is None


def test_system_turn_is_left_out_when_it_would_be_empty() -> None:
    messages: list[Message] = [{"role": "user", "content": "Hi"}]
    assert render(messages, []) == "<|im_start|>user\nHi<|im_end|>\n"
