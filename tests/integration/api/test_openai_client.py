"""What the official openai client sees."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.served import LIMIT_S
from tests.stack import Stack

USER = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{stack.base}/v1", api_key=stack.keys["plain"], max_retries=0, timeout=LIMIT_S
    ) as made:
        yield made


def test_completion_and_its_usage(client: openai.OpenAI) -> None:
    made = client.completions.create(model="tiny", prompt="hello", max_tokens=7)
    assert made.object == "text_completion"
    assert made.choices[0].finish_reason == "length"
    assert made.usage is not None
    assert made.usage.completion_tokens == 7
    assert made.usage.prompt_tokens_details is not None


def test_chat_and_its_usage(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(model="tiny", messages=USER, max_completion_tokens=5)
    assert made.choices[0].message.role == "assistant"
    assert made.choices[0].message.content
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.prompt_tokens + 5


def test_streamed_chat_equals_the_whole_one(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=USER, max_tokens=12)
    text, usage, reasons = "", None, []
    for chunk in client.chat.completions.create(
        model="tiny", messages=USER, max_tokens=12, stream=True,
        stream_options={"include_usage": True},
    ):  # fmt: skip
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons.append(choice.finish_reason)
    assert text == whole.choices[0].message.content
    assert usage == whole.usage
    assert reasons[-1] == "length"
    assert set(reasons[:-1]) == {None}


def test_streamed_completions_keep_choices_apart(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="tiny", prompt=["a", "b"], n=2, max_tokens=6)
    texts = [""] * 4
    for chunk in client.completions.create(
        model="tiny", prompt=["a", "b"], n=2, max_tokens=6, stream=True
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]


def test_echo(client: openai.OpenAI) -> None:
    made = client.completions.create(model="tiny", prompt="hello", max_tokens=2, echo=True)
    assert made.choices[0].text.startswith("hello")


def test_models(stack: Stack) -> None:
    with stack.http() as http:
        made = http.post("/api/keys", json={"name": "one model", "allowed_models": ["tiny"]})
    with openai.OpenAI(base_url=f"{stack.base}/v1", api_key=made.json()["key"]) as client:
        assert [model.id for model in client.models.list()] == ["tiny"]
        assert client.models.retrieve("tiny").id == "tiny"


def test_wrong_key_is_an_authentication_error(stack: Stack) -> None:
    with (
        openai.OpenAI(base_url=f"{stack.base}/v1", api_key="sk-x", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="tiny", messages=USER)
    assert caught.value.code == "invalid_api_key"


def test_unknown_model_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nope", messages=USER)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_field_is_a_bad_request_error_with_param(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=USER, temperature=9, stream=stream)
    assert caught.value.param == "temperature"


def test_a_limit_is_a_rate_limit_error_that_says_when(stack: Stack) -> None:
    with stack.http() as http:
        key = http.post("/api/keys", json={"name": "limited", "rpm": 1}).json()["key"]
    with openai.OpenAI(base_url=f"{stack.base}/v1", api_key=key, max_retries=0) as client:
        raw = client.completions.with_raw_response.create(model="tiny", prompt="a", max_tokens=1)
        assert raw.headers["x-ratelimit-limit-requests"] == "1"
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(model="tiny", prompt="a", max_tokens=1)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.param == "rpm"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
