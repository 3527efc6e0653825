"""Sampling fields through the official client, on the real engine with random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from tests.served import LIMIT_S
from tests.stack import Stack, start_stack

PROMPT = "hello there"
USER = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    made = start_stack(real_engine=True)
    yield made
    made.stop()


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{stack.base}/v1", api_key=stack.keys["plain"], max_retries=0, timeout=LIMIT_S
    ) as made:
        yield made


def greedy(client: openai.OpenAI, tokens: int = 16) -> str:
    made = client.completions.create(
        model="tiny",
        prompt=PROMPT,
        max_tokens=tokens,
        temperature=0,
        extra_body={"ignore_eos": True},
    )
    return made.choices[0].text


@pytest.mark.parametrize("stream", [True, False])
def test_a_stop_string_across_tokens_ends_the_text_before_it(
    client: openai.OpenAI, stream: bool
) -> None:
    text = greedy(client)
    # Two tokens of up to two letters each: three letters always cross a border between tokens.
    stop = text[4:7]
    wanted = text[: text.index(stop)]
    made = client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=16, temperature=0, stop=[stop, "never"],
        stream=stream, extra_body={"ignore_eos": True},
    )  # fmt: skip
    chunks = list(made) if isinstance(made, openai.Stream) else [made]
    assert "".join(chunk.choices[0].text for chunk in chunks) == wanted
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].choices[0].model_extra == {"stop_reason": stop}


def test_the_same_seed_gives_the_same_choices(client: openai.OpenAI) -> None:
    def texts(seed: int) -> list[str | None]:
        made = client.chat.completions.create(
            model="tiny", messages=USER, max_tokens=8, n=2, seed=seed, temperature=1.5
        )
        return [choice.message.content for choice in made.choices]

    assert texts(5) == texts(5)
    assert texts(5) != texts(6)
    assert len(set(texts(5))) == 2


def test_prompts_of_n_choices_count_once(client: openai.OpenAI) -> None:
    one = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=2).usage
    four = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=2, n=4).usage
    assert one is not None
    assert four is not None
    assert four.prompt_tokens == one.prompt_tokens


def test_chat_logprobs(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(
        model="tiny", messages=USER, max_tokens=4, logprobs=True, top_logprobs=3, temperature=0,
        extra_body={"ignore_eos": True},
    )  # fmt: skip
    assert made.choices[0].logprobs is not None
    content = made.choices[0].logprobs.content
    assert content is not None
    assert "".join(entry.token for entry in content) == made.choices[0].message.content
    for entry in content:
        assert len(entry.top_logprobs) == 3
        assert entry.token == entry.top_logprobs[0].token
        assert bytes(entry.bytes or []).decode() == entry.token


def token_id(stack: Stack, token: str) -> int:
    """The id of a token by its text; every token of this model has a text of its own."""
    file = json.loads((stack.folder / "model" / "tokenizer.json").read_text())
    return int(file["model"]["vocab"][token])


def test_echo_scores_the_prompt_as_generation_scores_it(
    stack: Stack, client: openai.OpenAI
) -> None:
    fields = {"ignore_eos": True}
    made = client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=4, temperature=0, logprobs=1, echo=True,
        extra_body=fields,
    )  # fmt: skip
    first = made.choices[0].logprobs
    with stack.http() as http:
        ids = http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    ids += [token_id(stack, token) for token in first.tokens[-4:]]
    scored = client.completions.create(
        model="tiny", prompt=ids, max_tokens=0, echo=True, logprobs=1
    ).choices[0]
    assert made.choices[0].text.startswith(PROMPT)
    assert scored.text == made.choices[0].text
    assert scored.logprobs.token_logprobs[0] is None
    assert scored.logprobs.token_logprobs[1:] == pytest.approx(first.token_logprobs[1:], abs=1e-4)
