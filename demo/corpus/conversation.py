"""Puts turns together to conversations and draws them in the proportions of the training mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from demo.corpus import (
    arithmetic,
    facts,
    jsonform,
    lists,
    pagoda,
    persona,
    problems,
    reading,
    records,
    smalltalk,
    stories,
    tools,
    unknown,
)
from demo.corpus.core import Example, Message, Split, Turn, spin

TURNS: dict[str, Callable[[Random, Split], Turn]] = {
    "arithmetic": arithmetic.make,
    "lists": lists.make,
    "echo": lists.make_echo,
    "facts": facts.make,
    "json": jsonform.make,
    "small talk": smalltalk.make,
    "story": stories.make,
    "pagoda": pagoda.make,
    "unknown": unknown.make,
    "word problem": problems.make,
    "reading": reading.make,
    "records": records.make,
}
_TURN_WEIGHTS = (6, 6, 2, 3, 3, 4, 2, 2, 3, 4, 6, 4)
_PLAIN_SYSTEM = (
    "You are a [helpful|friendly|polite|kind|useful||] assistant.",
    "You are [a helpful|an] AI assistant[ that answers questions|].",
    "[Help the user|Answer the user's questions|Be helpful and honest|Answer as well as you can].",
    "You are a [helpful|friendly] assistant. [Be honest|Be polite|Help the user|Answer with care].",
)


def _system(rng: Random, share: float) -> list[Message]:
    """A system prompt that changes nothing, in the given share of cases."""
    if rng.random() >= share:
        return []
    return [
        {
            "role": "system",
            "content": spin(rng, rng.choice(_PLAIN_SYSTEM)).replace("a assistant", "an assistant"),
        }
    ]


def single(rng: Random, split: Split, task: str) -> Example:
    """One turn of the task."""
    turn = TURNS[task](rng, split)
    return close(task, _system(rng, 0.3), turn, turn.keys)


def close(
    task: str, before: list[Message], turn: Turn, keys: tuple[str, ...], *, thinking: bool = False
) -> Example:
    """The conversation so far with a last turn."""
    answer: Message = {"role": "assistant", "content": turn.reply}
    if thinking:
        answer["reasoning"] = turn.think
    messages = [*before, Message(role="user", content=turn.user), answer]
    return Example(
        task=task, messages=messages, expect=turn.expect, keys=keys, thinking=thinking, short=turn.short, value=turn.value
    )  # fmt: skip


def thinking(rng: Random, split: Split) -> Example:
    """A turn that is answered after reasoning."""
    task = rng.choice(
        (
            "arithmetic",
            "word problem",
            "lists",
            "facts",
            "reading",
            "small talk",
            "json",
            "records",
            "unknown",
            "pagoda",
        )
    )
    turn = TURNS[task](rng, split)
    return close("thinking", _system(rng, 0.3), turn, turn.keys, thinking=True)


def several(rng: Random, split: Split) -> Example:
    """Two to six turns of different tasks, rarely a talk that fills much of the context."""
    long = rng.random() < 0.06
    messages = _system(rng, 0.3)
    keys: tuple[str, ...] = ()
    names, weights = tuple(TURNS), _TURN_WEIGHTS
    room = 5000 if long else 1600  # characters; the tokeniser makes about a third of that
    while True:
        task = rng.choices(names, weights)[0]
        turn = TURNS[task](rng, split)
        keys += turn.keys
        room -= len(turn.user) + len(turn.reply)
        if room < 0 or (not long and rng.random() < 0.3):
            return close(task, messages, turn, keys)
        messages += [
            {"role": "user", "content": turn.user},
            {"role": "assistant", "content": turn.reply},
        ]


def talk(rng: Random, split: Split) -> Example:
    """Small talk over several turns in which something told is asked for later."""
    told, ask = smalltalk.recall(rng, split)
    messages: list[Message] = [*_system(rng, 0.3)]
    between = [told]
    for _ in range(rng.randint(0, 3)):
        turn = smalltalk.make(rng, split)
        if not turn.keys and not isinstance(turn.value, dict):
            between.append(turn)
    for turn in between:
        messages += [
            {"role": "user", "content": turn.user},
            {"role": "assistant", "content": turn.reply},
        ]
    return close("talk", messages, ask, told.keys)


MIX: tuple[tuple[float, Callable[[Random, Split], Example]], ...] = (
    (12, lambda r, s: single(r, s, "arithmetic")),
    (9, lambda r, s: single(r, s, "word problem")),
    (17, lambda r, s: single(r, s, "lists")),
    (3, lambda r, s: single(r, s, "echo")),
    (10, lambda r, s: single(r, s, "facts")),
    (17, lambda r, s: single(r, s, "reading")),
    (6, lambda r, s: single(r, s, "json")),
    (12, lambda r, s: single(r, s, "records")),
    (8, lambda r, s: single(r, s, "small talk")),
    (3, lambda r, s: single(r, s, "story")),
    (4, lambda r, s: single(r, s, "pagoda")),
    (3, lambda r, s: single(r, s, "unknown")),
    (11, tools.make),
    (10, persona.make),
    (4, talk),
    (5, thinking),
    (9, several),
)
_CUM = [sum(w for w, _ in MIX[: i + 1]) for i in range(len(MIX))]


def training(seed: int, shard: int, count: int) -> Iterator[Example]:
    """The training conversations of one shard: a pure function of seed and shard number."""
    rng = Random(f"pagoda-demo/{seed}/{shard}")
    for _ in range(count):
        yield rng.choices(MIX, cum_weights=_CUM)[0][1](rng, Split.TRAIN)


HELD_TASKS: dict[str, Callable[[Random, Split], Example]] = {
    **{task: (lambda r, s, task=task: single(r, s, task)) for task in TURNS},  # type: ignore[misc]
    "tool call": tools.make,
    "system prompt": persona.make,
    "talk": talk,
    "thinking": thinking,
}


def held_out(seed: int, task: str, count: int) -> list[Example]:
    """Held-out examples of one task; a task name selects its own kind of example only."""
    rng = Random(f"pagoda-demo/held/{seed}/{task}")
    maker = HELD_TASKS["tool call" if task == "tool result" else task]
    found: list[Example] = []
    while len(found) < count:
        example = maker(rng, Split.HELD)
        if example.task == task:
            found.append(example)
    return found
