"""Tool calls and reasoning through the official client; the engine says what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.integration.api.parrot import say
from tests.stack import Stack

STEPS = [1, 2, 3, 7, 1000]  # tokens a delta
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": None}},
]
PARIS = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris", "d": [1, 2]}}\n</tool_call>'
)
NOW = '<tool_call>\n{"name": "now"}\n</tool_call>'


@pytest.fixture
def chat(stack: Stack, parrots: None) -> Iterator[Any]:
    """Asks the parrot; `stream` gives the answer put together from its chunks."""
    http = httpx.Client(trust_env=False, timeout=60)
    key = stack.keys["plain"]
    with openai.OpenAI(base_url=stack.base + "/v1", api_key=key, http_client=http) as client:

        def ask(text: str, step: int = 1, *, stream: bool = False, **fields: Any) -> Any:
            given: dict[str, Any] = {
                "model": "parrot",
                "messages": [{"role": "user", "content": say(text, step)}],
                "max_completion_tokens": 400,
                "tools": TOOLS,
            } | fields
            if not stream:
                return flat(client.chat.completions.create(**given))
            options = {"include_usage": True}
            return joined(
                client.chat.completions.create(**given, stream=True, stream_options=options)
            )

        yield ask


def flat(reply: Any) -> dict[str, Any]:
    """The first choice of a whole answer in plain form; ids of calls are checked and left out."""
    choice = reply.choices[0]
    calls = choice.message.tool_calls or []
    assert all(len(call.id) >= 9 and call.type == "function" for call in calls)
    return {
        "content": choice.message.content or "",
        "reasoning": getattr(choice.message, "reasoning", ""),
        "calls": [(call.function.name, call.function.arguments) for call in calls],
        "finish": choice.finish_reason,
        "thought": reply.usage.completion_tokens_details.reasoning_tokens,
        "scores": len(choice.logprobs.content) if choice.logprobs else 0,
    }


def joined(chunks: Any) -> dict[str, Any]:
    """The same of a stream. Id and name of a call come once, with its first piece."""
    found: dict[str, Any] = {"content": "", "reasoning": "", "finish": None, "scores": 0}
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        if chunk.usage is not None:
            found["thought"] = chunk.usage.completion_tokens_details.reasoning_tokens
        for choice in chunk.choices:
            found["content"] += choice.delta.content or ""
            found["reasoning"] += getattr(choice.delta, "reasoning", "")
            found["finish"] = choice.finish_reason or found["finish"]
            found["scores"] += len(choice.logprobs.content) if choice.logprobs else 0
            for call in choice.delta.tool_calls or []:
                assert (call.id is not None) == (call.index not in calls)
                assert (call.function.name is not None) == (call.index not in calls)
                calls.setdefault(call.index, [call.function.name or "", ""])
                calls[call.index][1] += call.function.arguments or ""
    return found | {"calls": [(name, text) for _, (name, text) in sorted(calls.items())]}


@pytest.mark.parametrize("step", STEPS)
def test_streamed_calls_equal_whole_ones_however_tokens_come(chat: Any, step: int) -> None:
    text = f"<think>\nParis, then.\n</think>\n\nI look.\n{PARIS}\n{NOW}"
    whole = chat(text, step)
    assert whole["calls"] == [("weather", '{"city": "Paris", "d": [1, 2]}'), ("now", "{}")]
    assert (whole["content"], whole["reasoning"]) == ("I look.", "Paris, then.")
    assert whole["finish"] == "tool_calls"
    assert 3 <= whole["thought"] <= 12
    assert chat(text, step, stream=True) == whole == chat(text, 1)


def test_without_parallel_calls_the_first_one_is_shown(chat: Any) -> None:
    for stream in (False, True):
        found = chat(PARIS + NOW, parallel_tool_calls=False, stream=stream)
        assert [name for name, _ in found["calls"]] == ["weather"]
        assert found["finish"] == "tool_calls"


def test_a_call_that_breaks_is_content(chat: Any) -> None:
    text = 'See <tool_call>{"name": "weather", "arguments": {"city" 5}}'
    whole = chat(text)
    assert (whole["content"], whole["calls"], whole["finish"]) == (text, [], "stop")
    streamed = chat(text, stream=True)
    assert (streamed["content"], streamed["finish"]) == (text, "stop")


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_ends_with_length(chat: Any, stream: bool) -> None:
    found = chat(PARIS + PARIS, max_completion_tokens=50, stream=stream)
    assert (len(found["calls"]) >= 1, found["finish"]) == (True, "length")


@pytest.mark.parametrize("stream", [False, True])
def test_tool_choice_none_leaves_text_alone(chat: Any, stream: bool) -> None:
    found = chat(NOW, tool_choice="none", stream=stream)
    assert (found["content"], found["calls"], found["finish"]) == (NOW, [], "stop")


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_can_be_left_out_but_is_counted(chat: Any, stream: bool) -> None:
    body = {"include_reasoning": False}
    found = chat("<think>hm</think>yes", stream=stream, tools=None, extra_body=body)
    assert (found["content"], found["reasoning"]) == ("yes", "")
    assert found["thought"] >= 2


def test_thinking_switched_off_makes_all_content(chat: Any) -> None:
    kwargs = {"chat_template_kwargs": {"enable_thinking": False}}
    found = chat("<think>hm</think>yes", tools=None, extra_body=kwargs)
    assert (found["content"], found["thought"]) == ("<think>hm</think>yes", 0)
    assert found == chat("<think>hm</think>yes", tools=None, reasoning_effort="none")


@pytest.mark.parametrize("step", STEPS)
def test_markers_that_are_special_tokens_are_found(chat: Any, step: int) -> None:
    text = '[THINK]Hm é.[/THINK]Look: é[TOOL_CALLS]weather[ARGS]{"city": "Rom"}'
    fields = {"model": "special", "logprobs": True}
    whole = chat(text, step, **fields)
    assert whole["calls"] == [("weather", '{"city": "Rom"}')]
    assert (whole["reasoning"], whole["content"]) == ("Hm é.", "Look: é")
    assert whole["scores"] > 10
    assert chat(text, step, stream=True, **fields) == whole


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stop", ["STOP", "nd STOP he", "rd"])
def test_stop_strings_count_text_without_special_markers(chat: Any, step: int, stop: str) -> None:
    thought, answer = "third and", "fourth and STOP here"
    text = f"[THINK]{thought}[/THINK]{answer}"
    fields = {"model": "special", "stop": [stop], "tools": None}
    whole = chat(text, step, **fields)
    shown = (thought + answer).partition(stop)[0]
    assert whole["reasoning"] + whole["content"] == shown
    assert whole["finish"] == "stop"
    streamed = chat(text, step, stream=True, **fields)
    assert [streamed[k] for k in ("reasoning", "content")] == [
        whole[k] for k in ("reasoning", "content")
    ]


def test_every_choice_has_its_own_calls(stack: Stack, parrots: None) -> None:
    body = {"model": "parrot", "n": 2, "tools": TOOLS, "max_tokens": 100}
    body["messages"] = [{"role": "user", "content": say(NOW)}]
    with stack.http() as http:
        choices = http.post("/v1/chat/completions", json=body).json()["choices"]
    ids = [choice["message"]["tool_calls"][0]["id"] for choice in choices]
    assert len(set(ids)) == 2
    assert choices[0]["message"]["content"] is None


def test_earlier_calls_and_results_stand_in_the_prompt(stack: Stack, parrots: None) -> None:
    call = {"id": "call_1", "type": "function"}
    call["function"] = {"name": "weather", "arguments": '{"city":"Köln"}'}  # type: ignore[assignment]
    talk = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    body = {"model": "parrot", "messages": talk, "tools": TOOLS}
    with stack.http() as http:
        ids = http.post("/tokenize", json=body).json()["tokens"]
        prompt = http.post("/detokenize", json={"model": "parrot", "tokens": ids}).json()["prompt"]
    assert '{"name": "weather", "arguments": {"city": "Köln"}}' in prompt
    assert "<tool_response>\nrain\n</tool_response>" in prompt
    assert '"description": "Weather of a city"' in prompt


def test_a_call_of_a_function_that_is_not_offered_is_refused(chat: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="not in 'tools'") as caught:
        chat(NOW, tool_choice={"type": "function", "function": {"name": "later"}})
    assert caught.value.param == "tool_choice"


def test_a_model_without_a_form_of_calls_refuses_tools(chat: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot call tools") as caught:
        chat(NOW, model="tiny")
    assert caught.value.param == "tools"


def test_effort_without_a_meaning_is_refused(chat: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat("x", model="tiny", tools=None, reasoning_effort="high")
    assert caught.value.param == "reasoning_effort"
