"""The rules that score replies: each accepts the right answer and refuses a near miss."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from demo.corpus.chat import reply_text
from demo.corpus.conversation import HELD_TASKS, held_out
from demo.evaluate import hand_written
from demo.scoring import (
    fulfils,
    is_json_answer,
    is_pirate,
    is_terse,
    meets,
    repeated_share,
    sentences,
)

TALE = " ".join(f"{chr(a)}{chr(b)}" for a in range(97, 106) for b in range(97, 106))
CALL = [{"name": "f", "arguments": {"a": 1}}]
WRITTEN = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


@pytest.mark.parametrize(
    ("expect", "right", "wrong"),
    [
        ({"kind": "number", "value": 68}, "23 + 45 = 68.", "68 = 23 + 54."),
        ({"kind": "number", "value": -5}, "7 - 12 = -5.", "7 - 12 = 5."),
        ({"kind": "words", "value": ["ant", "bee"]}, "ant, bee", "bee, ant"),
        ({"kind": "words", "value": ["ant", "bee"]}, "Sorted: ant and bee", "ant, bee, cat"),
        ({"kind": "exact", "value": "Yes."}, "Yes.", "Yes"),
        ({"kind": "contains", "value": ["a", "b"]}, "A B", "A"),
        ({"kind": "any", "value": ["a", "b"]}, "B", "c"),
        ({"kind": "fact", "value": "Bath", "not": ["Riga"]}, "In Bath.", "In Bath or Riga."),
        ({"kind": "fact", "value": "9", "not": []}, "It has 9.", "It has 194."),
        ({"kind": "fact", "value": "art and tea", "not": ["tea"]}, "Art and tea.", "Tea and art."),
        ({"kind": "fact", "value": "Bath"}, "Bath.", "Ann lives in Bath. " + "We met. " * 6),
        ({"kind": "contains", "value": []}, "Hi", " "),
        ({"kind": "story", "value": ["fox"]}, f"The fox. {TALE}", f"The foxes. {TALE}"),
        ({"kind": "json", "value": {"a": 1, "b": True}}, '{"b": true, "a": 1}', '{"b": 1, "a": 1}'),
        ({"kind": "json", "value": {"a": 1}}, '{"a": 1}', '{"a": 1, "b": 2}'),
        ({"kind": "json", "value": {"a": 1}}, '{"a": 1.0}', '{"a": "1"}'),
        ({"kind": "json", "value": {"a": {"b": [1]}}}, '{"a": {"b": [1]}}', '{"a": {"b": [true]}}'),
        ({"kind": "json", "value": {"a": None}}, '{"a": null}', '{"a": false}'),
        ({"kind": "upper"}, "YES 1", "Yes"),
        ({"kind": "lower"}, "yes 1", "Yes"),
        ({"kind": "starts", "value": "Sir"}, "Sir, yes.", "Yes, Sir."),
        ({"kind": "ends", "value": "Over."}, "Yes. Over.", "Over. Yes."),
        ({"kind": "one sentence"}, "It is 3.5 km.", "It is. It was."),
        ({"kind": "calls", "value": CALL}, WRITTEN, f"{WRITTEN}\n{WRITTEN}"),
        ({"kind": "calls", "value": CALL}, WRITTEN, WRITTEN.replace("1", "true")),
        ({"kind": "no call", "then": {"kind": "any", "value": ["hi"]}}, "Hi", f"Hi {WRITTEN}"),
        ({"kind": "exact", "value": "Hi"}, "<think>\nx\n</think>\n\nHi", f"Hi{WRITTEN}"),
    ],
)
def test_rule(expect: dict[str, Any], right: str, wrong: str) -> None:
    assert meets(expect, right)
    assert not meets(expect, wrong)


@pytest.mark.parametrize("task", sorted(HELD_TASKS))
def test_the_generators_own_answers_meet_their_rules(task: str) -> None:
    for example in held_out(11, task, 25):
        assert fulfils(example, reply_text(example.messages[-1]))


def test_a_reply_reasons_where_that_was_asked_and_nowhere_else() -> None:
    for example in held_out(11, "thinking", 5):
        message = example.messages[-1]
        assert not fulfils(example, message["content"])
        assert not fulfils(replace(example, thinking=False), reply_text(message))


def test_unknown_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match="No rule"):
        meets({"kind": "mood"}, "x")


def test_repeated_share_counts_second_occurrences() -> None:
    assert repeated_share("a b c d e f") == 0
    assert repeated_share("a b c d a b c d") == pytest.approx(1 / 5)


def test_forms_of_the_adapters() -> None:
    assert is_pirate("Arr, matey! It be me.")
    assert not is_pirate("Arr, matey! It is me.")
    assert not is_pirate("Arr, matey!")
    assert is_json_answer('{"answer": null}')
    assert not is_json_answer('{"reply": 1}')
    assert is_terse("One thing.")
    assert not is_terse("One thing. Two.")
    assert sentences("No mark") == 1


def test_prompts_by_hand_are_a_hundred_with_known_rules() -> None:
    prompts = hand_written("by hand")
    assert len({json.dumps(entry) for entry in prompts}) == 100
    for entry in [*prompts, *hand_written("by hand, unseen")]:
        meets(entry["expect"], "no answer")
