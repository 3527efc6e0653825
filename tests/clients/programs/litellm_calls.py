"""Calls of `litellm` as a client, through its `openai/` and `anthropic/` providers."""

from __future__ import annotations

import asyncio

import litellm
from calls import SAYS_SOMETHING, TALK, TOOLS, WEATHER, Recorder, arguments

record = Recorder()
base, key, model = arguments()
litellm.telemetry = False
OPENAI = {"model": f"openai/{model}", "api_base": f"{base}/v1", "api_key": key, "max_tokens": 60}


@record("completion")
def completion() -> None:
    made = litellm.completion(messages=TALK, temperature=0, **OPENAI)
    assert made.choices[0].message.content
    assert made.usage.completion_tokens


@record("completion(stream=True)")
def stream() -> None:
    chunks = litellm.completion(messages=TALK, stream=True, **OPENAI)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@record("acompletion")
def acompletion() -> None:
    assert asyncio.run(litellm.acompletion(messages=TALK, **OPENAI)).choices


@record("completion(tools=…)")
def tools() -> None:
    made = litellm.completion(
        messages=WEATHER, tools=TOOLS, temperature=0, **OPENAI | {"max_tokens": 120}
    )
    assert made.choices[0].message.tool_calls[0].function.name == "get_weather"


@record("completion(response_format=json_schema)")
def structured() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    schema["additionalProperties"] = False  # or sampled members of other names may come first
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    made = litellm.completion(messages=TALK, response_format=form, **OPENAI)
    assert '"a"' in made.choices[0].message.content


@record("text_completion")
def text() -> None:
    fields = OPENAI | {"model": f"text-completion-openai/{model}", "max_tokens": 8}
    made = litellm.text_completion(prompt="Once upon a time", extra_body=SAYS_SOMETHING, **fields)
    assert made.choices[0].text


@record("responses")
def responses() -> None:
    fields = {k: v for k, v in OPENAI.items() if k != "max_tokens"}
    assert litellm.responses(input="Hello!", max_output_tokens=20, **fields).output


@record("completion (provider anthropic)")
def messages() -> None:
    made = litellm.completion(
        model=f"anthropic/{model}", api_base=base, api_key=key, messages=TALK, max_tokens=20
    )
    assert made.choices[0].message.content


@record("errors: BadRequestError, AuthenticationError")
def errors() -> None:
    for kind, wrong in (
        (litellm.BadRequestError, {"top_p": 9}),
        (litellm.AuthenticationError, {"api_key": "wrong"}),
    ):
        try:
            litellm.completion(messages=TALK, num_retries=0, **OPENAI | wrong)
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__}")


record.run()
