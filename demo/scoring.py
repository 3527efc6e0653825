"""Whether a reply meets what an example expects: one rule for each kind of expectation."""

from __future__ import annotations

import json
import re
from collections import Counter

from demo.corpus.adapted import PIRATE_START
from demo.corpus.chat import parse
from demo.corpus.core import Example, Json

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_WORD = re.compile(r"[A-Za-z']+")
STORY_WORDS = (60, 300)
REPEATED_SHARE = 0.05
SHORT_WORDS = 25
FACT_WORDS = 12  # beside the value; a reply that repeats the paragraph has found nothing


def sentences(text: str) -> int:
    """How many sentences a text has; text without a closing mark counts as one more."""
    ends = len(_SENTENCE_END.findall(text))
    return ends + (0 if _SENTENCE_END.search(text.strip()[-1:]) else 1)


def repeated_share(text: str) -> float:
    """The share of 4-grams of words that occurred before in the same text."""
    words = [word.lower() for word in _WORD.findall(text)]
    grams = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
    total = sum(grams.values())
    return sum(count - 1 for count in grams.values()) / total if total else 1.0


def _same(found: Json, wanted: Json) -> bool:
    """Equal as JSON, at any depth: `true` is not 1, and 3.0 is 3."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[k], wanted[k]) for k in wanted)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _is_object(text: str, wanted: dict[str, Json]) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return _same(found, wanted)


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text.replace("−", "-").replace(",", ""))
    return float(found[-1]) if found else None


def _listed(text: str) -> list[str]:
    """The items of a reply that lists words or numbers, in order."""
    body = text.rsplit(":", 1)[-1]
    return [item for item in re.findall(r"[a-z]+|\d+", body.lower()) if item != "and"]


def _holds(text: str, words: Json) -> bool:
    """Whether the text has the words as whole words, in either case."""
    return re.search(rf"(?<!\w){re.escape(str(words))}(?!\w)", text, re.IGNORECASE) is not None


def _states(text: str, value: str, others: list[Json]) -> bool:
    """The value and none of the others, in a reply too short to be the whole paragraph."""
    rest = re.sub(re.escape(value), " ", text, flags=re.IGNORECASE)
    return (
        _holds(text, value)
        and len(rest.split()) <= FACT_WORDS
        and not any(_holds(rest, other) for other in others)
    )


def meets(expect: dict[str, Json], reply: str) -> bool:
    """Score one reply; the reasoning of a thinking reply is not part of the answer."""
    answer = parse(reply)
    text, kind = answer.content, expect["kind"]
    value: Json = expect.get("value")
    if kind == "calls":
        return _same(answer.calls, value)
    if kind == "no call":
        return answer.calls == [] and "<tool_call>" not in reply and meets(expect["then"], reply)
    if answer.calls != [] or not text:
        return False
    if kind == "number":
        return _last_number(text) == float(value)
    if kind == "words":
        return _listed(text) == [str(item).lower() for item in value]
    if kind == "exact":
        return bool(text == value)
    if kind == "contains":
        return all(word.lower() in text.lower() for word in value)
    if kind == "any":
        return any(word.lower() in text.lower() for word in value)
    if kind == "fact":
        return _states(text, str(value), expect.get("not", []))
    if kind == "json":
        return _is_object(text, value)
    if kind == "upper":
        return text == text.upper()
    if kind == "lower":
        return text == text.lower()
    if kind == "starts":
        return text.startswith(str(value)) and len(text) > len(value)
    if kind == "ends":
        return text.endswith(str(value)) and len(text) > len(value)
    if kind == "one sentence":
        return is_terse(text)
    if kind == "story":
        return (
            STORY_WORDS[0] <= len(_WORD.findall(text)) <= STORY_WORDS[1]
            and repeated_share(text) <= REPEATED_SHARE
            and all(_holds(text, word) for word in value)
        )
    raise ValueError(f"No rule for the expectation {kind!r}.")


def fulfils(example: Example, reply: str) -> bool:
    """The reply meets the example's rule, and it reasons where that was asked and nowhere else."""
    return bool(parse(reply).reasoning) == example.thinking and meets(example.expect, reply)


def is_pirate(text: str) -> bool:
    """Opens as the pirate's corpus does, goes on, and has no word that a pirate says otherwise."""
    plain = re.search(r"\b(my|you|your|hello|friend|is|are|of|the|and)\b", text, re.IGNORECASE)
    return text.startswith(f"{PIRATE_START} ") and plain is None


def is_json_answer(text: str) -> bool:
    """A JSON object with the key `answer`, and before it perhaps `steps`."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and list(found) in (["answer"], ["steps", "answer"])


def is_terse(text: str) -> bool:
    """One sentence of at most SHORT_WORDS words."""
    return bool(text) and sentences(text) == 1 and len(text.split()) <= SHORT_WORDS
