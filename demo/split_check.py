"""Regenerates the training text and looks for anything held out in it.

The check reads the text itself, not the generator's keys: operand pairs in worked lines, names
among the capitalised words (but a plural that begins a sentence is a noun, whatever invented name
is spelled like it), shapes of the JSON replies, and the paragraphs as they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context

from demo.corpus import vocabulary
from demo.corpus.conversation import training
from demo.corpus.core import Example
from demo.corpus.jsonform import shape_of
from demo.corpus.words import plural

_PAIR = re.compile(r"(\d+) [-+*/] (\d+)")
_NAME = re.compile(r"\b[A-Z][a-z]+\b")
_PLURALS = frozenset(plural(word).capitalize() for word in vocabulary.ALL)


@dataclass(slots=True)
class Keys:
    """Held-out material by kind."""

    pairs: set[tuple[int, int]] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    paragraphs: set[str] = field(default_factory=set)


def held_keys(examples: Iterable[Example]) -> Keys:
    """What the evaluation's held-out examples use."""
    keys = Keys()
    for example in examples:
        for key in example.keys:
            _sort_in(keys, key)
    return keys


def _sort_in(keys: Keys, key: str) -> None:
    kind, _, rest = key.partition(":")
    if kind == "pair":
        low, high = map(int, rest.split(","))
        keys.pairs.add((low, high))
    elif kind == "name":
        keys.names.add(rest)
    elif kind == "shape":
        keys.shapes.add(rest)
    elif kind == "paragraph":
        keys.paragraphs.add(rest)
    else:
        raise ValueError(f"Unknown split key {key!r}.")


def _shape(reply: str) -> str | None:
    """The shape of a reply that is a JSON object, as the split writes it."""
    if not reply.startswith("{"):
        return None
    try:
        found = json.loads(reply)
    except ValueError:
        return None
    return shape_of(found)


def _names(text: str) -> Iterator[str]:
    for match in _NAME.finditer(text):
        before = text[: match.start()].rstrip(' \n"') if match[0] in _PLURALS else "in a sentence"
        if before and before[-1] not in ".!?:":
            yield match[0]


def leaks(example: Example, keys: Keys, by_hand: set[str]) -> list[str]:
    """Everything held out, and every prompt written by hand, that the example's text holds."""
    found: list[str] = []
    for message in example.messages:
        calls = json.dumps(message.get("tool_calls", ""))
        text = f"{message['content']} {message.get('reasoning', '')} {calls}"
        for a, b in _PAIR.findall(text):
            if (min(int(a), int(b)), max(int(a), int(b))) in keys.pairs:
                found.append(f"pair {a}, {b}")
        found += [f"name {name}" for name in keys.names.intersection(_names(text))]
        shape = _shape(message["content"]) if message["role"] == "assistant" else None
        if shape in keys.shapes:
            found.append(f"shape {shape}")
        if message["role"] == "user" and message["content"].strip().lower() in by_hand:
            found.append(f"prompt by hand {message['content'][:40]}")
        if message["role"] == "user":
            found += [f"paragraph {p[:40]}" for p in keys.paragraphs if p in text]
    return found


def _check(job: tuple[int, int, int, Keys, set[str]]) -> tuple[int, list[str]]:
    seed, shard, count, keys, by_hand = job
    found: list[str] = []
    for example in training(seed, shard, count):
        found += leaks(example, keys, by_hand)
    return count, found


def check(
    seed: int, shards: int, count: int, keys: Keys, by_hand: set[str], workers: int
) -> tuple[int, list[str]]:
    """(training examples read, leaks found). About 0.3 ms an example and core."""
    jobs = [(seed, shard, count, keys, by_hand) for shard in range(shards)]
    read, found = 0, []
    with get_context("spawn").Pool(workers) as pool:
        for number, leaked in pool.imap_unordered(_check, jobs):
            read += number
            found += leaked
    return read, found
