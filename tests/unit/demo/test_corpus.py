"""The generator: same seed same text, and a split that no example crosses."""

from __future__ import annotations

import json
import operator
import re
from pathlib import Path
from random import Random

import pytest

import demo
from demo.corpus import (
    arithmetic,
    facts,
    jsonform,
    lists,
    names,
    problems,
    reading,
    records,
    stories,
    vocabulary,
    words,
)
from demo.corpus.chat import render
from demo.corpus.conversation import HELD_TASKS, held_out, training
from demo.corpus.core import Split, Turn, is_held, lower_first, spin
from demo.corpus.lists import make_echo
from demo.scoring import meets, repeated_share


def texts(seed: int, shard: int) -> list[str]:
    return [render(e.messages, e.tools, thinking=e.thinking) for e in training(seed, shard, 200)]


def test_a_shard_is_a_function_of_seed_and_number() -> None:
    assert texts(1, 0) == texts(1, 0)
    assert texts(1, 0) != texts(1, 1)


def test_training_examples_use_no_held_out_key() -> None:
    keys = {key for example in training(1, 0, 1500) for key in example.keys}
    assert len(keys) > 500
    assert not [key for key in keys if is_held(key)]


@pytest.mark.parametrize("task", sorted(HELD_TASKS))
def test_held_out_examples_use_held_out_keys_only(task: str) -> None:
    examples = held_out(7, task, 12)
    assert [e.task for e in examples] == [task] * 12
    assert all(is_held(key) for e in examples for key in e.keys)


def test_one_key_in_ten_is_held_out() -> None:
    pairs = [arithmetic.pair_key(a, b) for a in range(100) for b in range(a, 100)]
    assert 0.08 < sum(map(is_held, pairs)) / len(pairs) < 0.12


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div"])
def test_worked_lines_are_right(op: str) -> None:
    rng = Random(3)
    for _ in range(300):
        a, b = arithmetic.operands(rng, Split.TRAIN, op)
        result, work, _ = arithmetic.solve(op, a, b)
        first, *steps = work.split(" = ")
        assert steps[-1] == str(result)
        x, sign, y = first.split(" ")
        rule = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[
            sign
        ]
        assert rule(int(x), int(y)) == result
        assert all(sum(map(int, step.split(" + "))) == result for step in steps)


def test_number_words_are_english() -> None:
    assert [arithmetic.number_word(n) for n in (0, 13, 20, 87)] == [
        "zero",
        "thirteen",
        "twenty",
        "eighty-seven",
    ]


def many(make: object, count: int = 200) -> list[Turn]:
    rng = Random(5)
    return [make(rng, Split.TRAIN) for _ in range(count)]  # type: ignore[operator]


def test_lists_are_answered_from_the_words_of_the_question() -> None:
    for turn in many(lists.make):
        if turn.expect["kind"] == "words":
            assert all(str(word).lower() in turn.user.lower() for word in turn.expect["value"])


def test_facts_answer_with_words_of_the_text_or_say_that_it_does_not_say() -> None:
    for turn in many(facts.make):
        assert turn.reply == facts.UNSAID or str(turn.expect["value"]).lower() in turn.user.lower()


def test_json_replies_follow_their_shape() -> None:
    for turn in many(jsonform.make):
        assert json.loads(turn.reply) == turn.value
        names = [part.partition("=")[0] for part in turn.keys[0].removeprefix("shape:").split(",")]
        assert list(turn.value) == names


def test_stories_leave_no_slot_open_and_do_not_repeat_themselves() -> None:
    for turn in many(stories.make, 60):
        assert "<" not in turn.reply + turn.user + turn.short
        assert "[" not in turn.reply
        assert repeated_share(turn.reply) <= 0.05


def test_echo_repeats_what_was_given() -> None:
    assert all(turn.reply in turn.user for turn in many(make_echo, 50))


def test_choices_are_expanded_inside_out_before_slots_are_filled() -> None:
    found = {spin(Random(seed), "[a|b [c|d]] <x>", x="[kept|whole]") for seed in range(40)}
    assert found == {"a [kept|whole]", "b c [kept|whole]", "b d [kept|whole]"}


def test_lower_first_keeps_the_pronoun() -> None:
    assert [lower_first(t) for t in ("I am", "What is", "JSON please")] == [
        "I am",
        "what is",
        "JSON please",
    ]


def test_the_everyday_words_are_many_and_none_is_from_prompts_that_steered_the_grammar() -> None:
    assert len(vocabulary.EVERYDAY) == len(set(vocabulary.EVERYDAY)) >= 3000
    assert not set(vocabulary.EVERYDAY) & set(words.ALL)
    folder = Path(demo.__file__).parent
    files = (folder / name for name in ("prompts.jsonl", "prompts_second.jsonl"))
    prompts = [json.loads(line) for file in files for line in file.open()]
    asked = " ".join(f"{p['user']} {p.get('system', '')} {p['expect']}" for p in prompts)
    said = set(re.findall(r"[a-z]+", asked.lower()))
    assert not said & set(vocabulary.EVERYDAY)


def test_readings_are_answered_by_a_span_of_the_text() -> None:
    for turn in many(reading.make):
        if turn.reply != facts.UNSAID:
            assert str(turn.value).removeprefix("the ").lower() in turn.user.lower(), turn
            assert not [x for x in turn.expect["not"] if x.lower() == str(turn.value).lower()]


def test_records_hold_only_what_the_text_says() -> None:
    kinds: set[type] = set()
    for turn in many(records.make, 400):
        assert json.loads(turn.reply) == turn.value
        assert turn.keys[0] == "shape:" + jsonform.shape_of(turn.value)
        for key, value in turn.value.items():
            kinds.add(type(value))
            assert key in turn.user
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                assert str(value).lower() in turn.user.lower(), turn
    assert kinds == {str, int, float, bool, list, dict, type(None)}


def test_word_problems_end_with_the_result_of_their_steps() -> None:
    for turn in many(problems.make):
        assert turn.reply.rstrip(".").endswith(f"= {turn.value}")
        steps = [line.split(" = ") for line in turn.reply.rstrip(".").split(", ")]
        sums = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
        for first, *_, last in steps:
            a, sign, b = first.split(" ")
            assert sums[sign](int(a), int(b)) == int(last)


def test_invented_words_are_no_held_out_names() -> None:
    rng = Random(2)
    made = [names.odd_word(rng) for _ in range(500)]
    assert len(set(made)) > 400
    assert not [w for w in made if is_held(f"name:{w.capitalize()}") or w in vocabulary.ALL]


def test_a_request_decides_what_its_story_has() -> None:
    asked = many(stories.make, 300)
    assert all(meets(turn.expect, turn.reply) for turn in asked)
    assert {plot.sign for plot in stories.PLOTS} <= {w for t in asked for w in t.expect["value"]}
