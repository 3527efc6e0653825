"""Shared parts of the generator: conversations, the train/held-out split and the phrase grammar.

The split is by construction. Every operand pair, person name, schema shape and paragraph is a key;
a keyed hash decides once and for all on which side it lies, and generators redraw until they hold
a key of the side they were asked for. Nothing is ever moved from one side to the other afterwards.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from random import Random
from typing import Any, NotRequired, TypedDict

Json = Any  # a JSON value: None, bool, int, float, str, list or dict of them


class Split(Enum):
    """Which side of the split an example belongs to."""

    TRAIN = "train"
    HELD = "held"


class ToolCall(TypedDict):
    """One call as the chat template reads it."""

    name: str
    arguments: dict[str, Json]


class Message(TypedDict):
    """One turn in OpenAI's shape, tool calls without their id."""

    role: str
    content: str
    reasoning: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question with its answer in the forms the base model and the adapters learn."""

    user: str
    reply: str
    short: str  # the answer in one sentence, for the terse adapter
    value: Json  # the answer as data, for the json-only adapter
    expect: dict[str, Json]  # what demo.scoring checks, with its rule under "kind"
    think: str = ""  # reasoning for the <think> block
    keys: tuple[str, ...] = ()  # split keys that this turn uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A whole conversation that ends with the assistant's answer."""

    task: str
    messages: list[Message]
    expect: dict[str, Json]
    tools: list[dict[str, Json]] = field(default_factory=list)
    thinking: bool = False
    keys: tuple[str, ...] = ()
    short: str = ""
    value: Json = None


HELD_OUT_OF_TEN = 1


@lru_cache(maxsize=1 << 18)
def is_held(key: str) -> bool:
    """Whether the key lies on the held-out side: one key in ten, by hash."""
    digest = hashlib.blake2b(key.encode(), digest_size=4, key=b"pagoda-demo-split").digest()
    return int.from_bytes(digest, "big") % 10 < HELD_OUT_OF_TEN


def fits(key: str, split: Split) -> bool:
    """Whether the key lies on the wanted side."""
    return is_held(key) == (split is Split.HELD)


_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SPACES = re.compile(r" {2,}")
_SPACE_BEFORE = re.compile(r" +([,.?!;:])(?!\w)")


@lru_cache(maxsize=1 << 14)
def _parts(pattern: str) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """The first level of innermost choices of a pattern, as literal pieces and options."""
    pieces = _CHOICE.split(pattern)
    return "\x00".join(pieces[::2]), tuple(tuple(piece.split("|")) for piece in pieces[1::2])


def tidy(text: str) -> str:
    """The text without doubled spaces and spaces before marks, which empty choices leave."""
    return _SPACE_BEFORE.sub(r"\1", _SPACES.sub(" ", text)).strip()


def spin(rng: Random, pattern: str, **slots: object) -> str:
    """Expand `[a|b|]` choices (nested ones inside out), then fill `<slot>` with the given values."""
    while "[" in pattern:
        literals, choices = _parts(pattern)
        pieces = literals.split("\x00")
        out = [pieces[0]]
        for options, literal in zip(choices, pieces[1:], strict=True):
            out += (options[int(rng.random() * len(options))], literal)
        pattern = "".join(out)
    text = tidy(pattern)
    for name, value in slots.items():
        text = text.replace(f"<{name}>", str(value))
    return text


def pick(rng: Random, patterns: tuple[str, ...], **slots: object) -> str:
    """Expand one of several patterns."""
    return spin(rng, rng.choice(patterns), **slots)


def upper_first(text: str) -> str:
    """The text with its first character in upper case."""
    return text[:1].upper() + text[1:]


def lower_first(text: str) -> str:
    """The text with its first character in lower case, unless the first word is `I` or capitals."""
    first = text.split(" ", 1)[0]
    keep = first in {"I", "I'm", "I'll", "I've"} or (len(first) > 1 and first.isupper())
    return text if keep else text[:1].lower() + text[1:]


_BEFORE = (
    "[I am doing my homework|My teacher gave me this|I need this for school|Here is a task for you|I cannot work this out"
    "|Let us play a game|This is for my boss|A friend wants to know|I am in a hurry|I hope you can help|It is late already"
    "|I have a small problem|You are good at this|I forgot how this works|My sister and I disagree|I am curious"
    "|Let us try something|I am [at work|at home|on the train|very busy]|My [son|daughter|father|colleague|cat] [asks|needs] this"
    "|Nobody here knows|I am testing you|We talked about this before|Be so good|Here it comes|Let us go on|Something else]."
)
_AFTER = (
    "[I need it quickly|Take your time|That would be great|It is for a friend|I cannot do it alone|No need to hurry"
    "|Thank you in advance|I count on you|It is important|I am waiting|You can do it|That is all I want to know].",
    "[Can|Could] you [tell me|do that|help]?",
)


def with_chatter(rng: Random, question: str) -> str:
    """The question with a sentence before or after it that asks for nothing."""
    draw = rng.random()
    if draw < 0.13:
        return f"{spin(rng, _BEFORE)} {question}"
    if draw < 0.2 and question[-1:] in ".?!":
        return f"{question} {pick(rng, _AFTER)}"
    return question


_SHORTER = {
    "I am": "I'm", "you are": "you're", "it is": "it's", "that is": "that's", "what is": "what's", "who is": "who's", "where is": "where's",
    "how is": "how's", "there is": "there's", "do not": "don't", "does not": "doesn't", "did not": "didn't", "cannot": "can't", "is not": "isn't",
    "let us": "let's", "I would": "I'd", "I will": "I'll", "name is": "name's", "I have got": "I've got", "was not": "wasn't", "will not": "won't",
}  # fmt: skip
_LONG = re.compile(r"\b(" + "|".join(_SHORTER) + r")\b(?= \w)", re.IGNORECASE)


def _shorter(match: re.Match[str]) -> str:
    said = match.group(0)
    short = _SHORTER.get(said) or _SHORTER.get(lower_first(said)) or said
    return upper_first(short) if said[0].isupper() else short


def as_typed(rng: Random, question: str) -> str:
    """The question as people type it: now and then polite, in lower case or without the last mark."""
    draw = rng.random()
    if draw < 0.08:
        question = spin(rng, "[Hi|Hello|Hey],") + " " + lower_first(question)
    elif draw < 0.14:
        question = (
            spin(rng, "[Please|OK,|Now|So,|Next:|Quick question:|One more:]")
            + " "
            + lower_first(question)
        )
    elif draw < 0.18 and question[-1:] in ".?!":
        question = question[:-1] + spin(rng, "[, please|, thanks]") + question[-1]
    if rng.random() < 0.25:
        question = _LONG.sub(_shorter, question)
    if rng.random() < 0.15:
        question = lower_first(question)
    if rng.random() < 0.12 and question[-1:] in ".?!" and "\n" not in question:
        question = question[:-1]
    return upper_first(question) if rng.random() < 0.6 else question


def join_words(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
