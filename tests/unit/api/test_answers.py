"""Bytes of answers: chunks, whole bodies, stop handling, logprobs."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from apps.api.answers import Answer, Wishes
from apps.api.chat_answers import ChatAnswer
from apps.api.choices import ChoiceText
from apps.api.completion_answers import CompletionAnswer
from apps.api.logprobs import CompletionLogprobs, Names, chat_logprobs
from apps.api.pacing import Pacer
from apps.api.prompt import Prompt
from apps.api.schemas import ChatBody, CompletionBody
from engine.messages import ChoiceDelta, Counts, Delta, EventKind, Finish, TokenLogprob
from engine.sampling_params import SamplingParams
from engine.tokenizer import Tokenizer
from tests.unit.api.samples import letters

COUNTS = Counts(prompt_tokens=2, cached_tokens=1, completion_tokens=3)
PROMPT = [Prompt([1, 2], "bc")]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Token id n is the n-th letter; id 26 ends the text."""
    return letters()


def chat(tokenizer: Tokenizer, **fields: Any) -> ChatAnswer:
    body = ChatBody(model="m", messages=[{"role": "user", "content": "x"}], **fields)  # type: ignore[list-item]
    params = body.sampling({})
    return ChatAnswer("rid", body, tokenizer, params, [Prompt([1, 2])])


def completion(tokenizer: Tokenizer, **fields: Any) -> CompletionAnswer:
    body = CompletionBody(model="m", prompt="bc", **fields)
    return CompletionAnswer("rid", body, tokenizer, body.sampling({}), PROMPT)


def delta(*choices: ChoiceDelta, **fields: Any) -> Delta:
    return Delta("rid", 1, 1, EventKind.DELTA, list(choices), **fields)


def events(data: bytes) -> list[dict[str, Any]]:
    pieces = [piece for piece in data.split(b"\n\n") if piece]
    return [orjson.loads(piece.removeprefix(b"data: ")) for piece in pieces]


def row(*ids: int) -> list[TokenLogprob]:
    """Candidates of one position: the chosen one first, ranked as given."""
    return [TokenLogprob(token, -0.5 * rank, rank) for rank, token in enumerate(ids, 1)]


def test_a_stream_begins_with_the_role_of_each_choice(tokenizer: Tokenizer) -> None:
    first = events(chat(tokenizer, n=2).opening())
    assert [e["choices"][0]["index"] for e in first] == [0, 1]
    assert first[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first[0]["id"] == "chatcmpl-rid"


def test_a_delta_becomes_one_event_per_choice(tokenizer: Tokenizer) -> None:
    made = events(chat(tokenizer, n=2).chunks(delta(ChoiceDelta(0, [0, 1]), ChoiceDelta(1, [2]))))
    assert [e["choices"][0]["delta"]["content"] for e in made] == ["ab", "c"]
    assert all(e["choices"][0]["finish_reason"] is None for e in made)


def test_the_last_chunk_has_reason_and_no_end_token(tokenizer: Tokenizer) -> None:
    (event,) = events(chat(tokenizer).chunks(delta(ChoiceDelta(0, [0, 26], finish=Finish.STOP))))
    choice = event["choices"][0]
    assert choice["delta"] == {"content": "a"}
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", None)


def test_text_that_may_begin_a_stop_string_waits(tokenizer: Tokenizer) -> None:
    text = ChoiceText(tokenizer, [1], SamplingParams(stop=["cd"]))
    shown = [
        text.take(ChoiceDelta(0, [0], keep_chars=1)),
        text.take(ChoiceDelta(0, [2], keep_chars=1)),
        text.take(ChoiceDelta(0, [4], keep_chars=3)),
        text.take(ChoiceDelta(0, [2, 3], finish=Finish.STOP, stop_reason="cd", keep_chars=3)),
    ]
    assert shown == ["a", "", "ce", ""]


def test_held_text_is_shown_when_the_length_ends_it(tokenizer: Tokenizer) -> None:
    text = ChoiceText(tokenizer, [1], SamplingParams(stop=["cd"]))
    assert text.take(ChoiceDelta(0, [2], keep_chars=0)) == ""
    assert text.take(ChoiceDelta(0, [4], finish=Finish.LENGTH)) == "ce"


def test_include_stop_shows_the_stop_token(tokenizer: Tokenizer) -> None:
    params = SamplingParams(include_stop_str_in_output=True, stop_token_ids=[3])
    delta_ = ChoiceDelta(0, [0, 3], finish=Finish.STOP, stop_reason=3)
    assert ChoiceText(tokenizer, [1], params).take(delta_) == "ad"
    assert ChoiceText(tokenizer, [1], SamplingParams(stop_token_ids=[3])).take(delta_) == "a"


def test_usage_chunk_has_no_choices(tokenizer: Tokenizer) -> None:
    (event,) = events(chat(tokenizer).usage_chunk(COUNTS))
    assert event["choices"] == []
    assert event["usage"]["total_tokens"] == 5
    assert event["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


def test_the_usage_chunk_tells_times_where_they_are_wanted(tokenizer: Tokenizer) -> None:
    answer, counts = chat(tokenizer), Counts(queue_ms=3, ttft_ms=20, total_ms=90)
    assert "metrics" not in events(answer.usage_chunk(counts))[0]
    answer.tells_times = True
    assert events(answer.usage_chunk(counts))[0]["metrics"] == {
        "queue": 3, "ttft": 20, "decode": 70,
    }  # fmt: skip


def test_continuous_usage_counts_up(tokenizer: Tokenizer) -> None:
    answer = chat(tokenizer)
    answer.continuous_usage = True
    seen = events(answer.opening() + answer.chunks(delta(ChoiceDelta(0, [0, 1]))))
    assert [e["usage"]["completion_tokens"] for e in seen] == [0, 2]


@pytest.mark.parametrize("make", [chat, completion])
def test_streamed_and_whole_text_agree(tokenizer: Tokenizer, make: Any) -> None:
    deltas = [
        delta(ChoiceDelta(0, [0])),
        delta(ChoiceDelta(0, [1, 2])),
        delta(ChoiceDelta(0, [3], finish=Finish.LENGTH)),
    ]
    streamed: Answer = make(tokenizer)
    text = ""
    for one in deltas:
        for event in events(streamed.chunks(one)):
            choice = event["choices"][0]
            text += choice.get("text") or choice.get("delta", {}).get("content", "")
    whole = orjson.loads(make(tokenizer).whole(deltas, COUNTS))["choices"][0]
    assert text == (whole.get("text") or whole["message"]["content"]) == "abcd"
    assert whole["finish_reason"] == "length"


def test_chat_logprobs_name_token_bytes_and_the_likeliest(tokenizer: Tokenizer) -> None:
    answer = chat(tokenizer, logprobs=True, top_logprobs=2)
    done = delta(ChoiceDelta(0, [5], [[*row(7, 8)[1:], *row(7, 8)[:1]]], finish=Finish.LENGTH))
    done.choices[0].logprobs = [[TokenLogprob(5, -9.0, 9), *row(7, 8)]]
    (entry,) = orjson.loads(answer.whole([done], COUNTS))["choices"][0]["logprobs"]["content"]
    assert (entry["token"], entry["bytes"], entry["logprob"]) == ("f", [102], -9.0)
    assert [top["token"] for top in entry["top_logprobs"]] == ["h", "i"]


def test_completion_logprobs_always_hold_the_chosen_token(tokenizer: Tokenizer) -> None:
    answer = completion(tokenizer, logprobs=1)
    done = delta(ChoiceDelta(0, [5, 6], finish=Finish.LENGTH))
    done.choices[0].logprobs = [[TokenLogprob(5, -9.0, 9), *row(7)], row(6)]
    found = orjson.loads(answer.whole([done], COUNTS))["choices"][0]["logprobs"]
    assert found["tokens"] == ["f", "g"]
    assert found["text_offset"] == [0, 1]
    assert found["top_logprobs"] == [{"h": -0.5, "f": -9.0}, {"g": -0.5}]


def test_named_tokens_are_all_that_stands_beside_the_chosen_one(tokenizer: Tokenizer) -> None:
    done = delta(ChoiceDelta(0, [5], finish=Finish.LENGTH))
    done.choices[0].logprobs = [
        [TokenLogprob(5, -9.0, 9), TokenLogprob(8, -3.0, 0), TokenLogprob(7, -1.0, 0)]
    ]
    answer = completion(tokenizer, logprob_token_ids=[8, 7])
    found = orjson.loads(answer.whole([done], COUNTS))["choices"][0]["logprobs"]
    assert (found["tokens"], found["token_logprobs"]) == (["f"], [-9.0])
    assert found["top_logprobs"] == [{"i": -3.0, "h": -1.0}]
    answer = chat(tokenizer, logprobs=True, logprob_token_ids=[8, 5])
    (entry,) = orjson.loads(answer.whole([done], COUNTS))["choices"][0]["logprobs"]["content"]
    assert [(top["token"], top["logprob"]) for top in entry["top_logprobs"]] == [
        ("i", -3.0), ("f", -9.0),
    ]  # fmt: skip


def test_echo_puts_the_scored_prompt_first(tokenizer: Tokenizer) -> None:
    deltas = [delta(ChoiceDelta(0, [5], [row(5)], finish=Finish.LENGTH))]
    deltas[0].prompt_logprobs = [[None, row(2)]]
    fields = {"echo": True, "logprobs": 0}
    whole = orjson.loads(completion(tokenizer, **fields).whole(deltas, COUNTS))["choices"][0]
    assert whole["text"] == "bcf"
    assert whole["logprobs"]["tokens"] == ["b", "c", "f"]
    assert whole["logprobs"]["token_logprobs"][0] is None
    assert whole["logprobs"]["text_offset"] == [0, 1, 2]

    streamed = completion(tokenizer, **fields)
    seen = events(streamed.opening() + streamed.chunks(deltas[0]))
    assert "".join(e["choices"][0]["text"] for e in seen) == "bcf"
    assert seen[1]["choices"][0]["logprobs"]["text_offset"] == [2]


def test_streamed_echo_waits_for_the_prompts_logprobs(tokenizer: Tokenizer) -> None:
    answer = completion(tokenizer, echo=True, logprobs=0)
    assert answer.opening() == b""
    assert answer.chunks(delta(ChoiceDelta(0, [5], [row(5)]))) == b""
    late = answer.chunks(delta(prompt_logprobs=[[None, row(2)]]))
    assert [e["choices"][0]["text"] for e in events(late)] == ["bc", "f"]


def test_token_ids_stand_beside_the_text(tokenizer: Tokenizer) -> None:
    wishes = Wishes(return_ids=True)
    body = CompletionBody(model="m", prompt="bc")
    made = CompletionAnswer("rid", body, tokenizer, body.sampling({}), PROMPT, wishes)
    first, second = events(
        made.chunks(delta(ChoiceDelta(0, [0]))) + made.chunks(delta(ChoiceDelta(0, [2])))
    )
    assert first["choices"][0] | {"prompt_token_ids": [1, 2]} == first["choices"][0]
    assert [e["choices"][0]["token_ids"] for e in (first, second)] == [[0], [2]]
    assert "prompt_token_ids" not in second["choices"][0]


def test_tokens_may_be_named_by_their_ids(tokenizer: Tokenizer) -> None:
    names = Names(tokenizer, by_id=True)
    (entry,) = chat_logprobs(names, [row(2, 3)], 2)
    assert entry["token"] == "token_id:2"
    assert [top["token"] for top in entry["top_logprobs"]] == ["token_id:2", "token_id:3"]
    columns = CompletionLogprobs(names, 1).columns([row(2), row(3)], [2, 3])
    assert columns["tokens"] == ["token_id:2", "token_id:3"]
    assert columns["text_offset"] == [0, 1]


def test_a_paced_stream_begins_at_once_and_goes_on_in_larger_steps() -> None:
    pacer = Pacer(3)
    sent = [pacer.take([ChoiceDelta(0, [i], keep_chars=i)]) for i in range(6)]
    assert [[c.token_ids for c in chunk] for chunk in sent] == [[[0]], [], [], [[1, 2, 3]], [], []]
    (last,) = pacer.take([ChoiceDelta(0, [6], finish=Finish.STOP)])
    assert (last.token_ids, last.finish, last.keep_chars) == ([4, 5, 6], Finish.STOP, None)
