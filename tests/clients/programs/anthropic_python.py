"""Calls of the `anthropic` Python client."""

from __future__ import annotations

import anthropic
from calls import TALK, TOOLS, WEATHER, Recorder, arguments

record = Recorder()
base, key, model = arguments()
client = anthropic.Anthropic(base_url=base, api_key=key, max_retries=0)
SENT_BACK = {"type", "id", "name", "input"}
TOOL = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "input_schema": TOOLS[0]["function"]["parameters"],
}


@record("messages.create")
def create() -> None:
    made = client.messages.create(model=model, messages=TALK, max_tokens=20, system="Be brief.")
    assert made.content[0].text
    assert made.usage.output_tokens


@record("messages.create(stream=True)")
def stream() -> None:
    kinds = [
        event.type
        for event in client.messages.create(model=model, messages=TALK, max_tokens=20, stream=True)
    ]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


@record("messages.stream()")
def helper() -> None:
    with client.messages.stream(model=model, messages=TALK, max_tokens=20) as made:
        text = "".join(made.text_stream)
        assert made.get_final_text() == text


@record("messages.create(tools=…), tool_result")
def tools() -> None:
    made = client.messages.create(model=model, messages=WEATHER, tools=[TOOL], max_tokens=120)
    (call,) = [block for block in made.content if block.type == "tool_use"]
    assert call.input == {"city": "Paris"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"temperature": 18}'}
    talk = [
        *WEATHER,
        {
            "role": "assistant",
            "content": [call.model_dump(include={"type", "id", "name", "input"})],
        },
        {"role": "user", "content": [result]},
    ]
    again = client.messages.create(model=model, messages=talk, tools=[TOOL], max_tokens=60)
    assert again.content[0].text


@record("messages.create(thinking=…)")
def thinking() -> None:
    wish = {"type": "enabled", "budget_tokens": 1024}
    made = client.messages.create(model=model, messages=TALK, thinking=wish, max_tokens=2000)
    assert made.content[0].type == "thinking"


@record("messages.count_tokens")
def count() -> None:
    assert client.messages.count_tokens(model=model, messages=TALK).input_tokens > 5


@record("errors: BadRequest, NotFound, Authentication")
def errors() -> None:
    for kind, wrong in (
        (anthropic.BadRequestError, {"max_tokens": 0}),
        (anthropic.NotFoundError, {"model": "nobody"}),
    ):
        try:
            client.messages.create(**{"model": model, "messages": TALK, "max_tokens": 5} | wrong)
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__}")
    try:
        client.with_options(api_key="wrong").messages.count_tokens(model=model, messages=TALK)
    except anthropic.AuthenticationError:
        return
    raise AssertionError("no AuthenticationError")


record.run()
