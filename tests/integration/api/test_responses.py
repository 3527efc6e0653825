"""POST /v1/responses through the official client; the engine says what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.integration.api.parrot import say
from tests.integration.api.test_generation import beat, until
from tests.stack import Stack

TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
THOUGHT = "<think>\nParis, then.\n</think>\n\n"


@pytest.fixture
def openai_client(stack: Stack, parrots: None) -> Iterator[openai.OpenAI]:
    http = httpx.Client(trust_env=False, timeout=60)
    base, key = stack.base + "/v1", stack.keys["plain"]
    with openai.OpenAI(base_url=base, api_key=key, http_client=http, max_retries=0) as made:
        yield made


def create(client: openai.OpenAI, text: Any, **fields: Any) -> Any:
    return client.responses.create(**{"model": "parrot", "input": text, "tools": [TOOL]} | fields)


def test_reasoning_text_and_calls_are_items(openai_client: openai.OpenAI) -> None:
    made = create(openai_client, say(THOUGHT + "I look.\n" + CALL))
    assert [item.type for item in made.output] == ["reasoning", "message", "function_call"]
    reasoning, message, call = made.output
    assert reasoning.content[0].text == "Paris, then."
    assert (made.output_text, message.status) == ("I look.", "completed")
    assert (call.name, call.arguments) == ("weather", '{"city": "Paris"}')
    assert (made.status, made.usage.output_tokens_details.reasoning_tokens > 2) == (
        "completed",
        True,
    )
    assert made.tools[0].name == "weather"


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_stream_tells_the_same_in_order(openai_client: openai.OpenAI, step: int) -> None:
    text = say(THOUGHT + "I look.\n" + CALL, step)
    whole = create(openai_client, text)
    events = list(create(openai_client, text, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    once = [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before]
    assert once == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
        "output_item.done", "completed",
    ]  # fmt: skip

    def plain(response: Any) -> Any:
        found = response.model_dump(exclude={"id": True, "created_at": True, "usage": True})
        for item in found["output"]:
            del item["id"]
            item.pop("call_id", None)
        return found

    assert plain(events[-1].response) == plain(whole)
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text
    begun = [e.item for e in events if e.type == "response.output_item.added"]
    pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert begun[-1].arguments + "".join(pieces) == whole.output[-1].arguments


def test_a_conversation_with_calls_reaches_the_template(openai_client: openai.OpenAI) -> None:
    first = create(openai_client, say(CALL)).output[0]
    talk = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        first.model_dump(exclude_none=True),
        {"type": "function_call_output", "call_id": first.call_id, "output": "rain"},
        {"role": "user", "content": say("Take a coat.")},
    ]
    made = create(openai_client, talk, instructions="Be brief.")
    assert (made.output_text, made.instructions) == ("Take a coat.", "Be brief.")
    alone = create(openai_client, talk[3:])
    assert made.usage.input_tokens > alone.usage.input_tokens + 20


def test_a_cut_answer_is_incomplete(openai_client: openai.OpenAI) -> None:
    made = create(openai_client, say("one two three four"), max_output_tokens=2)
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    events = list(create(openai_client, say("one two"), max_output_tokens=2, stream=True))
    assert events[-1].type == "response.incomplete"


def test_scores_come_when_they_are_asked_for(openai_client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"include": ["message.output_text.logprobs"], "tools": []}
    made = create(openai_client, say("one two"), **fields)
    assert made.output[0].content[0].logprobs[0].logprob == -0.5
    events = list(create(openai_client, say("one two"), stream=True, **fields))
    (done,) = [e for e in events if e.type == "response.output_text.done"]
    assert [entry.logprob for entry in done.logprobs] == [-0.5] * len(done.logprobs)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0]",
        ),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 10**6}, "input"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [TOOL | {"parameters": {"$ref": "http://x"}}]}, "tools[0].parameters"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"input": 5}, "input"),
        ({"model": "tiny", "tools": [], "reasoning": {"effort": "high"}}, "reasoning.effort"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    openai_client: openai.OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(openai_client, **{"text": "x"} | fields) if "input" not in fields else (
            openai_client.responses.create(model="parrot", **fields)
        )
    assert caught.value.param == param


def test_names_without_effect_are_told(client: httpx.Client) -> None:
    body = {"model": "tiny", "input": "x", "store": True, "service_tier": "auto", "user": "u"}
    body |= {"top_logprobs": 0, "max_output_tokens": 1, "metadata": {"a": "b"}}
    reply = client.post("/v1/responses", json=body)
    assert reply.headers["x-pagoda-ignored"] == "service_tier, store"
    assert (reply.json()["user"], reply.json()["metadata"]) == ("u", {"a": "b"})
    body = {"model": "tiny", "input": "x", "max_output_tokens": 1, "reasoning": {"depth": 1}}
    reply = client.post("/v1/responses", json=body)
    assert reply.headers["x-pagoda-ignored"] == "reasoning.depth"


def test_nothing_is_stored_and_a_running_one_can_be_cancelled(
    stack: Stack, client: httpx.Client, plain: httpx.Client
) -> None:
    assert client.get("/v1/responses/resp_1").status_code == 404
    with stack.http(headers={}) as stranger:
        assert stranger.get("/v1/responses/resp_1").status_code == 401
    before = beat(stack).counters["aborted"]
    body = {"model": "tiny", "input": "x", "max_output_tokens": 2000, "stream": True}
    with client.stream("POST", "/v1/responses", json=body) as reply:
        lines = reply.iter_lines()
        text = next(line for line in lines if line.startswith("data: "))
        name = text.partition('"id":"')[2].partition('"')[0]
        assert plain.post(f"/v1/responses/{name}/cancel").status_code == 404
        cancelled = client.post(f"/v1/responses/{name}/cancel").json()
        assert (cancelled["id"], cancelled["status"]) == (name, "cancelled")
        last = [line for line in lines if line.startswith("event: ")][-1]
    assert last == "event: response.failed"
    until(lambda: beat(stack).counters["aborted"] == before + 1)
    assert client.post(f"/v1/responses/{name}/cancel").status_code == 404
