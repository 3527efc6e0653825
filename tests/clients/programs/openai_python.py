"""Calls of the `openai` Python client: `openai_python.py BASE KEY MODEL` prints what worked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
from calls import TALK, TOOLS, WEATHER, Recorder, arguments
from pydantic import BaseModel

record = Recorder()
base, key, model = arguments()
client = openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0)


class Reply(BaseModel):
    answer: int


@record("models.list, models.retrieve")
def models() -> None:
    assert client.models.retrieve(client.models.list().data[0].id).id


@record("chat.completions.create")
def chat() -> None:
    made = client.chat.completions.create(model=model, messages=TALK, max_tokens=20)
    assert made.choices[0].message.content
    assert made.usage.total_tokens > made.usage.prompt_tokens


@record("chat.completions.create(stream=True)")
def chat_stream() -> None:
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model=model, messages=TALK, max_tokens=20, stream=True, stream_options=options
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage.completion_tokens


@record("chat.completions.stream()")
def chat_helper() -> None:
    with client.chat.completions.stream(model=model, messages=TALK, max_tokens=20) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content


@record("chat.completions.create(tools=…)")
def tools() -> None:
    made = client.chat.completions.create(
        model=model, messages=WEATHER, tools=TOOLS, temperature=0, max_tokens=120
    )
    call = made.choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Paris"}


@record("chat.completions.create(tool_choice='required')")
def required() -> None:
    made = client.chat.completions.create(
        model=model, messages=TALK, tools=TOOLS, tool_choice="required", temperature=0,
        max_tokens=120,
    )  # fmt: skip
    assert made.choices[0].message.tool_calls


@record("chat.completions.parse(response_format=PydanticModel)")
def parse() -> None:
    made = client.chat.completions.parse(
        model=model, messages=TALK, response_format=Reply, temperature=0, max_tokens=60
    )
    assert isinstance(made.choices[0].message.parsed, Reply)


@record("chat.completions.create(logprobs=True, n=2)")
def logprobs() -> None:
    made = client.chat.completions.create(
        model=model, messages=TALK, max_tokens=4, logprobs=True, top_logprobs=2, n=2
    )
    assert len(made.choices[1].logprobs.content[0].top_logprobs) == 2


@record("completions.create")
def completions() -> None:
    made = client.completions.create(model=model, prompt=["Once", "Two"], max_tokens=5, echo=True)
    assert [choice.index for choice in made.choices] == [0, 1]


@record("completions.create(stream=True)")
def completions_stream() -> None:
    stream = client.completions.create(model=model, prompt="Once", max_tokens=5, stream=True)
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] in ("length", "stop")


@record("responses.create")
def responses() -> None:
    made = client.responses.create(model=model, input="Hello!", max_output_tokens=20)
    assert made.output_text


@record("responses.create(stream=True)")
def responses_stream() -> None:
    stream = client.responses.create(model=model, input="Hello!", max_output_tokens=20, stream=True)
    kinds = [event.type for event in stream]
    assert kinds[0] == "response.created"
    assert kinds[-1] in ("response.completed", "response.incomplete")


@record("responses.stream() with a function tool")
def responses_tools() -> None:
    tool = {"type": "function"} | TOOLS[0]["function"]
    with client.responses.stream(
        model=model, input=WEATHER, tools=[tool], temperature=0, max_output_tokens=120
    ) as stream:
        for _ in stream:
            pass
        calls = [o for o in stream.get_final_response().output if o.type == "function_call"]
    assert json.loads(calls[0].arguments) == {"city": "Paris"}


@record("AsyncOpenAI chat.completions.create")
def unsync() -> None:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=key) as other:
            return await other.chat.completions.create(model=model, messages=TALK, max_tokens=5)

    assert asyncio.run(ask()).choices[0].message.content


@record("errors: BadRequest, NotFound, Authentication")
def errors() -> None:
    for kind, wrong in (
        (openai.BadRequestError, {"temperature": 9}),
        (openai.NotFoundError, {"model": "nobody"}),
    ):
        try:
            client.chat.completions.create(**{"model": model, "messages": TALK} | wrong)
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__}")
    try:
        client.with_options(api_key="wrong").models.list()
    except openai.AuthenticationError:
        return
    raise AssertionError("no AuthenticationError")


record.run()
