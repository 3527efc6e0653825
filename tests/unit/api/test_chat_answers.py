"""Chat answers with a parser: pieces, reasoning tokens, what is left alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as FastTokenizer

from apps.api.chat_answers import ChatAnswer
from apps.api.parsers import Piece, pipeline_for
from apps.api.prompt import Prompt
from apps.api.schemas import ChatBody
from engine.messages import ChoiceDelta, Counts, Delta, EventKind, Finish
from engine.tokenizer import Tokenizer

MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
CHARS = [chr(code) for code in range(32, 127)]


def characters() -> Tokenizer:
    """One token a character; the markers are special tokens, the last id ends the text."""
    fast = FastTokenizer(models.BPE({char: i for i, char in enumerate(CHARS)}, []))
    fast.decoder = decoders.Fuse()
    fast.add_special_tokens([AddedToken(mark, special=True) for mark in (*MARKS, "<end>")])
    return Tokenizer(fast, {}, frozenset({len(CHARS) + len(MARKS)}))


TOKENIZER = characters()
END = len(CHARS) + len(MARKS)


def answer(tool: str | None = "hermes", reasoning: str | None = "qwen3", **fields: Any) -> Any:
    body = ChatBody(model="m", messages=[{"role": "user", "content": "x"}], **fields)  # type: ignore[list-item]
    pipelines = [pipeline_for(tool, reasoning)]
    special = frozenset(range(len(CHARS), END))
    params = body.sampling({})
    return ChatAnswer("rid", body, TOKENIZER, params, [Prompt([1])], pipelines, special)


def deltas(text: str, cuts: list[int], finish: Finish = Finish.STOP) -> list[Delta]:
    ids = TOKENIZER.encode(text) + [END] * (finish is Finish.STOP)
    borders = sorted({0, len(ids), *(cut % (len(ids) + 1) for cut in cuts)})
    parts = [ChoiceDelta(0, ids[a:b]) for a, b in pairwise(borders)]
    parts[-1].finish = finish
    return [Delta("rid", 1, i, EventKind.DELTA, [part]) for i, part in enumerate(parts)]


def whole(made: Any, sent: list[Delta]) -> dict[str, Any]:
    found = orjson.loads(made.whole(sent, Counts()))
    choice = found["choices"][0]
    message = choice["message"]
    calls = message.get("tool_calls", [])
    return {
        "content": message["content"] or "",
        "reasoning": message.get("reasoning", ""),
        "calls": [(c["function"]["name"], c["function"]["arguments"]) for c in calls],
        "finish": choice["finish_reason"],
        "thought": found["usage"]["completion_tokens_details"]["reasoning_tokens"],
    }


def streamed(made: Any, sent: list[Delta]) -> dict[str, Any]:
    data = b"".join(map(made.chunks, sent)) + made.usage_chunk(Counts())
    events = [orjson.loads(part[6:]) for part in data.split(b"\n\n") if part]
    usage = events.pop()["usage"]
    found: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}}
    for choice in (event["choices"][0] for event in events):
        delta = choice["delta"]
        assert delta.get("reasoning") == delta.get("reasoning_content")
        found["content"] += delta.get("content", "")
        found["reasoning"] += delta.get("reasoning", "")
        found["finish"] = choice["finish_reason"]
        for call in delta.get("tool_calls", []):
            known = found["calls"].setdefault(call["index"], ["", ""])
            known[0] += call["function"].get("name", "")
            known[1] += call["function"]["arguments"]
    found["calls"] = [tuple(call) for call in found["calls"].values()]
    return found | {"thought": usage["completion_tokens_details"]["reasoning_tokens"]}


WEATHER = '<tool_call>{"name": "w", "arguments": {"c": "P"}}</tool_call>'
TEXTS = [
    "plain words",
    "<think>so</think>answer",
    "<think>so</think>" + WEATHER + '<tool_call>{"name": "now"}</tool_call>',
    "Look: " + WEATHER,
    "<think>cut in thought",
    " <thi is no marker",
]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 200), max_size=8))
def test_however_tokens_come_stream_and_whole_are_one(text: str, cuts: list[int]) -> None:
    expected = whole(answer(), deltas(text, []))
    assert whole(answer(), deltas(text, cuts)) == expected
    assert streamed(answer(), deltas(text, cuts)) == expected


def test_reasoning_tokens_end_with_the_reasoning() -> None:
    found = whole(answer(), deltas("<think>abc</think>defgh", []))
    assert (found["thought"], found["reasoning"], found["content"]) == (4, "abc", "defgh")
    assert whole(answer(), deltas("abc", []))["thought"] == 0


@pytest.mark.parametrize(
    ("finish", "reason", "told"),
    [
        (Finish.STOP, None, "tool_calls"),
        (Finish.STOP, 7, "stop"),
        (Finish.STOP, "x", "stop"),
        (Finish.LENGTH, None, "length"),
    ],
)
def test_tool_calls_is_the_reason_when_the_model_itself_ended(
    finish: Finish, reason: Any, told: str
) -> None:
    sent = deltas(WEATHER, [], finish)
    sent[-1].choices[0].stop_reason = reason
    assert whole(answer(), sent)["finish"] == told


def test_a_call_begun_and_broken_in_one_delta_never_appears() -> None:
    broken = '<tool_call>{"name": "w", "arguments": {"c" 1}}'
    found = streamed(answer(), deltas(broken, []))
    assert (found["calls"], found["content"], found["finish"]) == ([], broken, "stop")


def test_after_the_reasoning_an_answer_without_tools_is_not_parsed() -> None:
    class Counting:
        """A pipeline that counts what it is asked."""

        def __init__(self) -> None:
            self.inner = pipeline_for(None, "qwen3")
            self.pushed = 0

        def push(self, text: str) -> list[Piece]:
            self.pushed += 1
            return self.inner.push(text)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    body = ChatBody(model="m", messages=[{"role": "user", "content": "x"}])  # type: ignore[list-item]
    counting: Any = Counting()
    made = ChatAnswer("r", body, TOKENIZER, body.sampling({}), [Prompt([1])], [counting])
    found = streamed(made, deltas("hello to you all", list(range(20))))
    assert (found["content"], counting.pushed) == ("hello to you all", 1)
