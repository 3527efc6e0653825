"""The official client against the whole service with the real engine."""

from __future__ import annotations

import concurrent.futures

import openai
import pytest

PROMPT = "Once upon a time there was a pagoda, and in it"
ON = {"ignore_eos": True}  # the full number of tokens, whatever the model says


def text_of(client, model, **fields):
    reply = client.completions.create(model=model, prompt=PROMPT, extra_body=ON, **fields)
    return reply.choices[0].text


def test_streamed_text_and_usage_equal_the_whole_answer(client, model):
    fields = {"model": model, "prompt": PROMPT, "max_tokens": 24, "temperature": 0}
    whole = client.completions.create(**fields)
    chunks = list(
        client.completions.create(**fields, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_chat_answers_and_streams_the_same(client, model):
    talk = [{"role": "user", "content": "Hello there"}]
    whole = client.chat.completions.create(model=model, messages=talk, max_tokens=16, temperature=0)
    stream = client.chat.completions.create(
        model=model, messages=talk, max_tokens=16, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == whole.choices[0].message.content
    assert whole.choices[0].message.role == "assistant"


def test_a_stop_string_cuts_the_text_wherever_tokens_end(client, model):
    full = text_of(client, model, max_tokens=32, temperature=0)
    stop = full[7:12]
    cut = client.completions.create(
        model=model, prompt=PROMPT, max_tokens=32, temperature=0, stop=[stop], extra_body=ON
    ).choices[0]
    assert (cut.text, cut.finish_reason) == (full[: full.index(stop)], "stop")
    stream = client.completions.create(
        model=model,
        prompt=PROMPT,
        max_tokens=32,
        temperature=0,
        stop=[stop],
        stream=True,
        extra_body=ON,
    )
    assert "".join(c.choices[0].text for c in stream) == cut.text


def test_choices_share_one_prompt(client, model):
    reply = client.completions.create(
        model=model, prompt=PROMPT, n=2, max_tokens=8, temperature=1.0, seed=11, extra_body=ON
    )
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert reply.choices[0].text != reply.choices[1].text
    alone = client.completions.create(model=model, prompt=PROMPT, max_tokens=8, temperature=0)
    assert reply.usage.prompt_tokens == alone.usage.prompt_tokens
    assert reply.usage.completion_tokens == 16


def test_the_same_seed_gives_the_same_text_whatever_runs_beside_it(client, model):
    def sample(seed: int) -> str:
        return text_of(client, model, max_tokens=24, temperature=1.0, seed=seed)

    alone = sample(7)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(sample, [7, 1, 2, 7, 3, 4, 5, 7]))
    assert [crowd[0], crowd[3], crowd[7]] == [alone] * 3
    assert len(set(crowd)) == 6


def test_echo_with_logprobs_scores_the_prompt(client, model):
    reply = client.completions.create(
        model=model, prompt=PROMPT, max_tokens=1, temperature=0, echo=True, logprobs=2
    ).choices[0]
    logprobs = reply.logprobs
    assert reply.text.startswith(PROMPT)
    assert logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert "".join(logprobs.tokens) == reply.text
    assert logprobs.text_offset[0] == 0


def test_chat_logprobs_name_the_most_likely_tokens(client, model):
    choice = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Hi"}],
        max_tokens=4,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
    ).choices[0]
    for entry in choice.logprobs.content:
        assert len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].token == entry.token
        assert bytes(entry.bytes).decode(errors="replace") == entry.token


def test_several_prompts_in_one_call(client, model):
    reply = client.completions.create(
        model=model, prompt=["one", "two", "three"], max_tokens=4, temperature=0
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    alone = client.completions.create(model=model, prompt="two", max_tokens=4, temperature=0)
    assert reply.choices[1].text == alone.choices[0].text


def test_too_long_a_prompt_says_both_numbers(client, model):
    limit = client.models.list().data[0].max_model_len
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=model, prompt=[5] * (limit + 10), max_tokens=4)
    assert caught.value.code == "context_length_exceeded"
    assert str(limit) in caught.value.message
    assert str(limit + 10) in caught.value.message


def test_wrong_requests_name_the_field(client, model):
    for field, value in (("temperature", 3.5), ("top_p", 0.0), ("n", 10_000), ("max_tokens", -1)):
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model=model, prompt="x", **{field: value})
        assert caught.value.param == field
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="nobody", prompt="x")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="pgd_wrong").completions.create(model=model, prompt="x")


def test_usage_rows_hold_what_the_client_was_told(served, client, model):
    """The management API shows the row of this very request within seconds."""
    from tests.served import wait_for

    reply = client.completions.with_raw_response.create(
        model=model, prompt=PROMPT, max_tokens=9, temperature=0
    )
    rid, usage = reply.headers["x-request-id"], reply.parse().usage
    row = wait_for(lambda: usage_row(served, rid), what="the usage row")
    assert row == (usage.prompt_tokens, usage.completion_tokens)


def usage_row(served, rid):
    import sqlite3

    with sqlite3.connect(f"file:{served.home}/pagoda.sqlite3?mode=ro", uri=True) as database:
        return database.execute(
            "select prompt_tokens, completion_tokens from usage_usagerecord where rid = ?", [rid]
        ).fetchone()
