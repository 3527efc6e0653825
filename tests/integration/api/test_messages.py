"""POST /v1/messages through the anthropic client; the engine says what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import httpx2
import pytest

from tests.integration.api.parrot import say
from tests.stack import Stack

TOOL: Any = {
    "name": "weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
THOUGHT = "<think>\nParis, then.\n</think>\n\n"


@pytest.fixture
def claude(stack: Stack, parrots: None) -> Iterator[anthropic.Anthropic]:
    http = httpx2.Client(trust_env=False, timeout=60)
    with anthropic.Anthropic(
        base_url=stack.base, api_key=stack.keys["plain"], http_client=http, max_retries=0
    ) as made:
        yield made


def asked(text: Any, **fields: Any) -> dict[str, Any]:
    given = {"model": "parrot", "max_tokens": 400, "tools": [TOOL]}
    return given | {"messages": [{"role": "user", "content": text}]} | fields


def test_thinking_text_and_calls_are_blocks(claude: anthropic.Anthropic) -> None:
    made = claude.messages.create(**asked(say(THOUGHT + "I look.\n" + CALL)))
    assert [block.type for block in made.content] == ["thinking", "text", "tool_use"]
    thinking, text, call = made.content
    assert (thinking.thinking, text.text) == ("Paris, then.", "I look.")
    assert (call.name, call.input, made.stop_reason) == ("weather", {"city": "Paris"}, "tool_use")
    assert made.usage.output_tokens > 10


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_stream_adds_up_to_the_whole(claude: anthropic.Anthropic, step: int) -> None:
    body = asked(say(THOUGHT + "I look.\n" + CALL, step))
    whole = claude.messages.create(**body)
    with claude.messages.stream(**body) as stream:
        kinds = [event.type for event in stream]
        summed = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3

    def plain(message: Any) -> Any:
        found = message.model_dump(include={"content", "stop_reason", "stop_sequence"})
        for block in found["content"]:
            block.pop("id", None)
        return found

    assert plain(summed) == plain(whole)
    assert summed.usage.output_tokens == whole.usage.output_tokens


def test_a_conversation_with_results_reaches_the_template(claude: anthropic.Anthropic) -> None:
    first = claude.messages.create(**asked(say(CALL))).content[0]
    talk: list[Any] = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [first.model_dump(exclude_none=True)]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": first.id, "content": "rain"},
                {"type": "text", "text": say("Take a coat.")},
            ],
        },
    ]
    system = [{"type": "text", "text": "Be brief."}]
    made = claude.messages.create(**asked("", messages=talk, system=system))
    assert made.content[0].text == "Take a coat."
    counted = claude.messages.count_tokens(
        model="parrot", messages=talk, system=system, tools=[TOOL]
    )
    read = made.usage.cache_read_input_tokens or 0
    assert counted.input_tokens == made.usage.input_tokens + read


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_tokens": 2}, "max_tokens"),
        ({"stop_sequences": ["wo th"]}, "stop_sequence"),
        ({}, "end_turn"),
    ],
)
def test_why_it_ended(claude: anthropic.Anthropic, fields: dict[str, Any], reason: str) -> None:
    made = claude.messages.create(**asked(say("one two three"), **fields))
    assert made.stop_reason == reason
    assert made.stop_sequence == ("wo th" if reason == "stop_sequence" else None)


def test_thinking_can_be_switched_off(claude: anthropic.Anthropic) -> None:
    made = claude.messages.create(**asked(say("<think>a</think>b"), thinking={"type": "disabled"}))
    assert [block.type for block in made.content] == ["text"]


def test_an_answer_that_the_client_began_is_gone_on_with(claude: anthropic.Anthropic) -> None:
    talk: list[Any] = [{"role": "user", "content": "x"}]
    begun = [*talk, {"role": "assistant", "content": "It is"}]
    open_ended = claude.messages.count_tokens(model="parrot", messages=talk)
    counted = claude.messages.count_tokens(model="parrot", messages=begun)
    closed = claude.messages.count_tokens(model="parrot", messages=[*begun, *talk])
    assert open_ended.input_tokens < counted.input_tokens < open_ended.input_tokens + 4
    assert closed.input_tokens > counted.input_tokens + open_ended.input_tokens


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "1"}]}]},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "assistant", "content": []}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tool_choice": {"type": "tool"}},
        {"extra_body": {"temperature": 5}},
    ],
)
def test_bad_fields_are_invalid_requests(
    claude: anthropic.Anthropic, fields: dict[str, Any]
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**asked("x") | fields)
    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"


def test_keys_and_models_are_refused_in_the_same_form(
    stack: Stack, claude: anthropic.Anthropic
) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(**asked("x", model="none"))
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="pgd_wrong").messages.create(**asked("x"))
    with stack.http() as http:
        assert http.get("/v1/messages").json()["error"]["type"] == "invalid_request_error"


def test_names_without_effect_are_told(client: httpx.Client) -> None:
    body = {"model": "tiny", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    extra = {"metadata": {"user_id": "u"}, "service_tier": "auto"}
    reply = client.post("/v1/messages", json=body | extra)
    assert reply.headers["x-pagoda-ignored"] == "service_tier, metadata"
    body["messages"] = [{"role": "user", "content": "x", "mood": 1}] * 2
    reply = client.post("/v1/messages", json=body | {"metadata": {"depth": 1}})
    assert reply.headers["x-pagoda-ignored"] == "metadata, messages.mood, metadata.depth"
