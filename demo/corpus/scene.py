"""What a scene is, and two helpers of the families that draw scenes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.corpus import material as m
from demo.corpus.core import Json, Split
from demo.corpus.words import plural


@dataclass(frozen=True, slots=True)
class Ask:
    """A question with the words of the text that answer it; `by` is what tells it from other scenes."""

    question: str
    answer: str
    slot: str
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A value that can be taken out as JSON, under one of several names."""

    names: tuple[str, ...]
    value: Json


@dataclass(frozen=True, slots=True)
class Scene:
    """A told scene; each sentence starts with a capital."""

    text: str
    asks: tuple[Ask, ...]
    fields: tuple[Field, ...]
    keys: tuple[str, ...] = ()


# A family takes two random sources: the second decides the form (verb, unit, condition).
Family = Callable[[Random, Split, Random], Scene]

_KNOWN = frozenset(m.NOUNS)


def several(rng: Random) -> str:
    """A plural, or an invented word as it is."""
    word = m.noun(rng)
    return plural(word) if word in _KNOWN else word


def with_an(text: str) -> str:
    """`a apple` -> `an apple`."""
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}").replace(f"A {vowel}", f"An {vowel}")
    return text
