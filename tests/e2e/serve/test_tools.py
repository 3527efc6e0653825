"""Tool calls and thinking of the real demo model through the official client."""

from __future__ import annotations

import json

import pytest

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Name of the city"}},
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "set_alarm",
            "description": "Set an alarm",
            "parameters": {
                "type": "object",
                "properties": {"time": {"type": "string", "description": "Time as HH:MM"}},
                "required": ["time"],
            },
        },
    },
]
WEATHER = {"Paris": {"temperature": 18, "sky": "sunny"}}


def asked(client, model, stream, messages, **fields):
    """The answer as (message in the form a client sends back, finish reason, usage)."""
    fields |= {"model": model, "messages": messages, "temperature": 0, "max_tokens": 120}
    if not stream:
        reply = client.chat.completions.create(**fields)
        choice = reply.choices[0]
        return choice.message.model_dump(exclude_none=True), choice.finish_reason, reply.usage
    message, finish, usage = {"role": "assistant", "content": ""}, None, None
    chunks = client.chat.completions.create(
        **fields, stream=True, stream_options={"include_usage": True}
    )
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            add(message, choice.delta)
    return message, finish, usage


def add(message, delta):
    message["content"] += delta.content or ""
    if reasoning := getattr(delta, "reasoning", None):
        message["reasoning"] = message.get("reasoning", "") + reasoning
    for call in delta.tool_calls or []:
        calls = message.setdefault("tool_calls", [])
        if call.index == len(calls):
            function = {"name": call.function.name, "arguments": ""}
            calls.append({"id": call.id, "type": "function", "function": function})
        calls[call.index]["function"]["arguments"] += call.function.arguments or ""


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_calls_a_tool_and_uses_its_result(client, model, stream):
    talk = [{"role": "user", "content": "What is the weather in Paris?"}]
    message, finish, _ = asked(client, model, stream, talk, tools=TOOLS)
    assert finish == "tool_calls"
    (call,) = message["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["function"]["name"] == "get_weather"
    city = json.loads(call["function"]["arguments"])["city"]

    result = {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(WEATHER[city])}
    answer, finish, _ = asked(client, model, stream, [*talk, message, result], tools=TOOLS)
    assert finish == "stop"
    assert "18" in answer["content"]
    assert "sunny" in answer["content"]
    assert not answer.get("tool_calls")


def test_the_other_tool_is_chosen_for_the_other_wish(client, model):
    talk = [{"role": "user", "content": "Set an alarm for 06:30."}]
    message, _, _ = asked(client, model, False, talk, tools=TOOLS)
    function = message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("set_alarm", {"time": "06:30"})


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_told_apart_and_counted(client, model, stream):
    talk = [{"role": "user", "content": "What is 12 + 7?"}]
    message, finish, usage = asked(client, model, stream, talk, reasoning_effort="high")
    assert "19" in message["reasoning"]
    assert "19" in message["content"]
    assert "think>" not in message["reasoning"] + message["content"]
    assert finish == "stop"
    thought = usage.completion_tokens_details.reasoning_tokens
    assert 5 < thought < usage.completion_tokens

    plain, _, usage = asked(client, model, stream, talk)
    assert "reasoning" not in plain
    assert usage.completion_tokens_details.reasoning_tokens == 0
