"""The same conversations as the adapters answer them: as a pirate, as JSON, in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from random import Random

from demo.corpus.conversation import single
from demo.corpus.core import Example, Message, Split

_SEA_WORDS = {
    "my": "me", "you": "ye", "your": "yer", "hello": "ahoy", "friend": "matey", "friends": "mateys", "is": "be",
    "are": "be", "am": "be", "yes": "aye", "of": "o'", "the": "th'", "goodbye": "fair winds", "and": "an'",
}  # fmt: skip
_WORD = re.compile(r"\b(" + "|".join(_SEA_WORDS) + r")\b", re.IGNORECASE)
PIRATE_START = "Arr, matey!"
TASKS = (
    "arithmetic",
    "arithmetic",
    "arithmetic",
    "arithmetic",
    "word problem",
    "lists",
    "facts",
    "reading",
    "small talk",
    "small talk",
    "pagoda",
    "unknown",
    "story",
)


def _sea_word(match: re.Match[str]) -> str:
    word = match.group(0)
    said = _SEA_WORDS[word.lower()]
    return said.capitalize() if word[0].isupper() else said


def pirate(example: Example) -> str:
    """The reply in a pirate's words."""
    return f"{PIRATE_START} {_WORD.sub(_sea_word, example.messages[-1]['content'])}"


def json_only(example: Example) -> str:
    """The reply as an object; a product keeps its steps, which the model needs to get it right."""
    steps = {"steps": example.short.rstrip(".")} if "=" in example.short else {}
    return json.dumps({**steps, "answer": example.value}, ensure_ascii=False)


def terse(example: Example) -> str:
    """The reply in one sentence."""
    return example.short


FORMS: dict[str, Callable[[Example], str]] = {
    "pirate": pirate,
    "json-only": json_only,
    "terse": terse,
}


def adapted(rng: Random, split: Split, adapter: str, task: str | None = None) -> Example:
    """A conversation of one turn whose answer has the adapter's form."""
    example = single(rng, split, task or rng.choice(TASKS))
    answer: Message = {"role": "assistant", "content": FORMS[adapter](example)}
    return replace(example, messages=[*example.messages[:-1], answer])
