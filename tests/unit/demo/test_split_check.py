"""The split check finds what is held out in plain text, whatever kind of key it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.corpus.conversation import HELD_TASKS, held_out, training
from demo.corpus.core import Example
from demo.evaluate import FORMS, TASK_NAMES, scored
from demo.split_check import Keys, check, held_keys, leaks

EXAMPLES = [e for task in sorted(HELD_TASKS) for e in held_out(7, task, 12)]
KEYS = held_keys(EXAMPLES)


def plain(kind: str) -> Example:
    """A held-out example with a key of the kind, its own record of keys taken away."""
    found = next(e for e in EXAMPLES if any(key.startswith(f"{kind}:") for key in e.keys))
    return replace(found, keys=())


@pytest.mark.parametrize("kind", ["pair", "name", "shape", "paragraph"])
def test_a_held_out_example_in_the_training_text_is_found(kind: str) -> None:
    assert any(leak.startswith(kind) for leak in leaks(plain(kind), KEYS, set()))


def test_a_prompt_by_hand_in_the_training_text_is_found() -> None:
    example = next(iter(training(1, 0, 1)))
    question = next(m["content"] for m in example.messages if m["role"] == "user")
    assert leaks(example, Keys(), {question.strip().lower()})
    assert not leaks(example, Keys(), {"a prompt that nobody wrote"})


def test_training_text_has_no_leak_and_its_own_keys_are_found() -> None:
    assert check(1, 1, 300, KEYS, set(), 1) == (300, [])
    own = held_keys(training(1, 0, 30))
    read, found = check(1, 1, 30, own, set(), 1)
    assert read == 30
    assert found


def test_every_scored_example_is_held_out_and_counted() -> None:
    count = 3
    draft = len(TASK_NAMES) * (count // len(TASK_NAMES) + 1)
    examples = list(scored(7, count))
    assert len(examples) == count * (len(TASK_NAMES) + len(FORMS) + 1) + draft
    keys = held_keys(examples)
    assert min(len(keys.pairs), len(keys.names), len(keys.shapes), len(keys.paragraphs)) > 0


def test_an_unknown_kind_of_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="Unknown split key"):
        held_keys([replace(EXAMPLES[0], keys=("colour:red",))])


@pytest.mark.parametrize(
    ("reply", "leaks_name"),
    [
        ("Flutes and drums.", False),
        ("She sells many things. Flutes, mostly.", False),
        ("It belongs to Flutes Kramer.", True),
        ("Odile is here.", True),
    ],
)
def test_a_plural_that_begins_a_sentence_is_no_name(reply: str, leaks_name: bool) -> None:
    talk = [{"role": "user", "content": "who?"}, {"role": "assistant", "content": reply}]
    example = replace(EXAMPLES[0], messages=talk, keys=())
    assert bool(leaks(example, Keys(names={"Flutes", "Odile"}), set())) is leaks_name
