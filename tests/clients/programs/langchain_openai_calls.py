"""Calls of `langchain-openai`."""

from __future__ import annotations

import asyncio
import json

from calls import SAYS_SOMETHING, Recorder, arguments
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel

record = Recorder()
base, key, model = arguments()
chat = ChatOpenAI(
    model=model, base_url=f"{base}/v1", api_key=key, temperature=0, max_tokens=120, max_retries=0
)


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city"""
    return json.dumps({"city": city, "temperature": 18})


class Reply(BaseModel):
    """An answer in numbers."""

    answer: int


@record("ChatOpenAI.invoke")
def invoke() -> None:
    made = chat.invoke([SystemMessage("Be brief."), HumanMessage("What is 12 + 7?")])
    assert made.content
    assert made.usage_metadata["output_tokens"]


@record("ChatOpenAI.stream")
def stream() -> None:
    assert "".join(chunk.content for chunk in chat.stream("What is 12 + 7?"))


@record("ChatOpenAI.ainvoke")
def ainvoke() -> None:
    assert asyncio.run(chat.ainvoke("Hello!")).content


@record("ChatOpenAI.batch")
def batch() -> None:
    assert len(chat.batch(["Hello!", "What is 2 + 2?"])) == 2


@record("ChatOpenAI.bind_tools, ToolMessage")
def tools() -> None:
    talk = [HumanMessage("What is the weather in Paris?")]
    made = chat.bind_tools([get_weather]).invoke(talk)
    (call,) = made.tool_calls
    assert call["args"] == {"city": "Paris"}
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    assert chat.bind_tools([get_weather]).invoke([*talk, made, result]).content


@record("ChatOpenAI.with_structured_output(json_schema)")
def structured() -> None:
    made = chat.with_structured_output(Reply, method="json_schema").invoke("What is 12 + 7?")
    assert isinstance(made, Reply)


@record("ChatOpenAI.with_structured_output(function_calling)")
def called() -> None:
    made = chat.with_structured_output(Reply, method="function_calling").invoke("What is 12 + 7?")
    assert isinstance(made, Reply)


@record("ChatOpenAI(use_responses_api=True).invoke")
def responses() -> None:
    other = ChatOpenAI(
        model=model, base_url=f"{base}/v1", api_key=key, use_responses_api=True, max_tokens=20
    )
    assert other.invoke("Hello!").content


@record("OpenAI.invoke (completions)")
def completions() -> None:
    plain = OpenAI(
        model=model, base_url=f"{base}/v1", api_key=key, max_tokens=8, extra_body=SAYS_SOMETHING
    )
    assert plain.invoke("Once upon a time")


record.run()
