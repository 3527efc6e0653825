"""Sorting, reversing and counting of words and numbers, and small picks from a list."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from demo.corpus import vocabulary, words
from demo.corpus.core import Split, Turn, as_typed, fits, join_words, pick, spin, with_chatter
from demo.corpus.material import code, item, title, when, where
from demo.corpus.names import odd_word, surname

_POOLS = (
    words.ANIMALS,
    words.FOODS,
    words.THINGS,
    words.NATURE,
    words.QUALITIES,
    words.ACTIONS,
    words.JOBS,
)
_ASKS: dict[str, tuple[str, ...]] = {
    "sort": (
        "[Sort|Order|Arrange] [these|the following|the] words [alphabetically|in alphabetical order|from A to Z][:|:|: ]<l>",
        "[Put|Bring|List|Write] [these|the following] words in [alphabetical|ABC|dictionary] order: <l>",
        "[Sort|Alphabetize|Order] [this list|this|alphabetically|A to Z]: <l>",
        "[What is|Give me] the alphabetical order of <l>?",
        "[Can|Could] you [sort|order|put] <l> [alphabetically|in alphabetical order|from A to Z]?",
        "I [need|want] these [words|items] [sorted|in alphabetical order]: <l>",
        "<l> - [sort|order] [these|them] [alphabetically|from A to Z].",
        "[Sort|Order] [the words|this list|these|my list] [by the letters of the alphabet|alphabetically|as in a dictionary]: <l>",
        "[Alphabetical order|A to Z|Alphabetically|Dictionary order][, please|]: <l>",
        "[Which|What] order do <l> have in [the alphabet|a dictionary|an index]?",
        "[Rank|List|Line up|Index] [these|the words|my words|the following] [by the alphabet|alphabetically|by first letter|from A to Z]: <l>",
    ),
    "sort_desc": (
        "[Sort|Order|Arrange] [these|the following|the] words [in reverse alphabetical order|from Z to A]: <l>",
        "[Put|Write] these words in [reverse alphabetical order|order from Z to A]: <l>",
    ),
    "reverse": (
        "[Reverse|Turn around|Flip] [the order of |][these words|this list|the words|the list]: <l>",
        "[Write|Say|List|Repeat|Give] [these words|this list|the words] [backwards|in reverse order|in reverse|in the opposite order|from last to first]: <l>",
        "What is <l> in reverse order?",
        "[Can|Could] you [reverse|flip] [this list|these words|the list] [for me|]: <l>",
        "[Put|List] <l> in [the reverse|reverse|the opposite] order.",
        "[Backwards|Reversed|In reverse|The other way round|Last to first|Back to front][, please|]: <l>",
        "[I want|Give me|Show me|I need] <l> [backwards|reversed|in reverse|the other way round|back to front][.|]",
        "Start with the last word and end with the first: <l>",
        "[Mirror|Invert|Swap] the order of [these|the words|this list]: <l>",
        "[Read|Recite|Type|Go through] [this|the list|these words] [from the bottom up|from right to left|back to front|starting at the end]: <l>",
        "[Take|Here is|For] the list <l>[: last one first|, last word first|, and now backwards][, please|].",
    ),
    "count": (
        "[How many words are|Count the words] [in this list|here|there]: <l>",
        "[How many|Count the] [items|words|entries|things] [are in|are on|in] [this|the following|the] list[|?]: <l>",
        "Count [these words|the words|these items|these]: <l>",
        "How many [words|items] do you [see|count] [here|]: <l>",
        "How long is this list: <l>",
        "[Tell me|Say] how many words [there are|I wrote]: <l>",
        "What is the number of [words|items] in <l>?",
        "[Number of words|Word count|How many|Count]: <l>",
        "[How many|Count the] [words|names|things] did I [say|name|list|type][?|:] <l>",
    ),
    "first": ("What is the first [word|item] [in|of] [this list|these words|the list]: <l>", "[Give me|Name] the first [word|item] of: <l>"),
    "last": ("What is the last [word|item] [in|of] [this list|these words|the list]: <l>", "[Give me|Name] the last [word|item] of: <l>"),
}  # fmt: skip
_NUMBER_ASKS: dict[str, tuple[str, ...]] = {
    "up": (
        "[Sort|Order|Arrange] [these|the following|the] numbers [from small to large|from smallest to largest|from low to high|in ascending order|]: <l>",
        "[Put|Write|List] [these|the following] numbers in [ascending|increasing|numerical|rising] order: <l>",
        "[Can|Could] you [sort|order] <l> [from smallest to largest|in ascending order|]?",
        "Sort <l>.",
    ),
    "down": (
        "[Sort|Order|Arrange] [these|the following|the] numbers [from large to small|from largest to smallest|from high to low|in descending order]: <l>",
        "[Put|Write|List] [these|the following] numbers in [descending|decreasing|falling] order: <l>",
    ),
    "max": ("[What is|Which is|Find|Tell me] the [largest|biggest|highest|greatest] [number|value|of these numbers][?|:| in this list:] <l>",
            "[Which|What] number is the [largest|biggest|highest]: <l>", "Which of these is the [largest|biggest]: <l>"),
    "min": ("[What is|Which is|Find|Tell me] the [smallest|lowest|least] [number|value|of these numbers][?|:| in this list:] <l>",
            "[Which|What] number is the [smallest|lowest]: <l>", "Which of these is the smallest: <l>"),
}  # fmt: skip
# The same wishes when the list stands before them.
_LATER: dict[str, tuple[str, ...]] = {
    "sort": ("[Sort|Order|Arrange|Alphabetize] [them|these|it|all of them|the list][| alphabetically| from A to Z| by letter][.|]", "[Now|Please] [sort|order] [them|it] [by the alphabet|alphabetically|in ABC order][.|]",
             "[Bring|Put] [them|it|this] [into|in] alphabetical [order|sequence][.|]", "What is the [right|] alphabetical order?", "[Which|What] comes first in the alphabet? List all[.| in order.]"),
    "sort_desc": ("[Sort|Order] [them|these] from Z to A.", "Now in reverse alphabetical order[.|]"),
    "reverse": ("[Reverse|Flip|Turn around] [them|it|this|the order|the list][.|]", "[Now|Please] [backwards|in reverse|the other way][.|]", "[List|Say|Write] [them|it|this] [backwards|in reverse|from the end|starting with the last][.|]", "Turn [it|the list|them] [around|the other way round][.|]"),
    "count": ("How many [are there|are these|words is that|is that|do I have|did I name|things is that]?", "[Count|Number] [them|these|it|all of them][.|]", "[What is|Tell me] the count[.|?]"),
    "first": ("[Which|What] [is|was|stands|comes] first?", "Name the first one."),
    "last": ("[Which|What] [is|was|stands|comes] last?", "Name the last one."),
    "up": ("[Sort|Order|Arrange] [them|these|the numbers] [upwards|in ascending order|from small to large|from the lowest on][.|]", "[Lowest|Least] first[, please|][.|]", "[Put|Bring] them in [ascending|rising|increasing] order[.|]"),
    "down": ("[Sort|Order|Arrange] [them|these|the numbers] [downwards|in descending order|from large to small][.|]", "[Largest|Highest|Biggest] first[, please|][.|]"),
    "max": ("[Which|What] [one |number |]is the [largest|biggest|highest|greatest|top]?", "[Name|Give|Find|Pick] the [largest|biggest|highest|greatest][| one| number][.|]"),
    "min": ("[Which|What] [one |number |]is the [smallest|lowest|least]?", "[Name|Give|Find|Pick] the [smallest|lowest|least][| one| number][.|]"),
}  # fmt: skip
_ORDER: dict[str, Callable[[list[str]], list[str]]] = {
    "sort": sorted,
    "sort_desc": lambda items: sorted(items, reverse=True),
    "reverse": lambda items: items[::-1],
}


def _written(rng: Random, items: list[str]) -> str:
    """The items as a user writes them."""
    draw = rng.random()
    if draw < 0.6:
        return ", ".join(items)
    if draw < 0.75:
        return join_words(items)
    if draw < 0.85:
        return " ".join(items)
    return ("\n" + "\n".join(f"- {item}" for item in items)) if draw < 0.95 else "; ".join(items)


def _drawn_words(rng: Random, split: Split, count: int) -> list[str]:
    """Distinct words whose set is a key on the wanted side."""
    draw = rng.random()
    pool = rng.choice(_POOLS) if draw < 0.35 else words.ALL if draw < 0.65 else vocabulary.ALL
    while True:
        items = rng.sample(pool, count)
        if fits("words:" + ",".join(sorted(items)), split):
            return items


def _ask(rng: Random, patterns: tuple[str, ...], listed: str, later: tuple[str, ...]) -> str:
    """The question; a bulleted list always closes it."""
    if listed.startswith("\n"):
        patterns = tuple(p for p in patterns if p.endswith(": <l>") or p.endswith("]<l>")) or (
            patterns[0],
        )
        return pick(rng, patterns).replace(": <l>", ":<l>").replace("<l>", listed)
    if rng.random() < 0.25:
        told = spin(
            rng,
            "[Here are|I have|These are|I wrote down|Look at|Take|We got] [some|a few|these|my|the|several] [words|things|items|entries|names]",
        )
        after = pick(rng, later)
        return with_chatter(
            rng,
            f"{told}: {listed}. {after}"
            if rng.random() < 0.6
            else f"{listed}{rng.choice(('. ', ' - ', ': ', '. '))}{after}",
        )
    return with_chatter(rng, as_typed(rng, pick(rng, patterns, l=listed)))


def _word_turn(rng: Random, split: Split) -> Turn:
    op = rng.choices(
        ("sort", "reverse", "count", "sort_desc", "first", "last"), (8, 5, 5, 1, 0.6, 0.6)
    )[0]
    items = _drawn_words(rng, split, rng.randint(2, 12) if op == "count" else rng.randint(3, 7))
    if op in ("reverse", "count", "first", "last") and rng.random() < 0.15:
        items = [odd_word(rng) if rng.random() < 0.5 else item for item in items]
    question = _ask(rng, _ASKS[op], _written(rng, items), _LATER[op])
    if op == "count":
        count = len(items)
        reply = f"There are {count} words."
        expect = {"kind": "number", "value": count}
        think = " ".join(f"{n} {item}" for n, item in enumerate(items, 1)) + f". So {count}."
        return Turn(
            user=question, reply=reply, short=f"{count}.", value=count, expect=expect, think=think
        )
    if op in ("first", "last"):
        word = items[0] if op == "first" else items[-1]
        think = f"The list is {', '.join(items)}. The {op} one is {word}."
        expect = {"kind": "words", "value": [word]}
        return Turn(
            user=question, reply=word, short=f"{word}.", value=word, expect=expect, think=think
        )
    ordered = _ORDER[op](items)
    listed = ", ".join(ordered)
    how = "backwards" if op == "reverse" else "by first letters"
    think = f"The words are {', '.join(items)}. I go through them {how}: {listed}."
    expect = {"kind": "words", "value": ordered}
    return Turn(
        user=question, reply=listed, short=f"{listed}.", value=ordered, expect=expect, think=think
    )


def _number_turn(rng: Random, split: Split) -> Turn:
    op = rng.choices(("up", "down", "max", "min"), (4, 2, 2, 2))[0]
    top = rng.choice((20, 99, 99, 999))
    while True:
        numbers = rng.sample(range(top + 1), rng.randint(3, 7))
        if fits("numbers:" + ",".join(map(str, sorted(numbers))), split):
            break
    listed = _written(rng, [str(n) for n in numbers])
    question = _ask(rng, _NUMBER_ASKS[op], listed, _LATER[op])
    if op in ("max", "min"):
        best = max(numbers) if op == "max" else min(numbers)
        kind = "largest" if op == "max" else "smallest"
        think = f"The numbers are {', '.join(map(str, numbers))}. The {kind} is {best}."
        return Turn(
            user=question, reply=f"The {kind} number is {best}.", short=f"{best}.", value=best,
            expect={"kind": "number", "value": best}, think=think,
        )  # fmt: skip
    ordered = sorted(numbers, reverse=op == "down")
    reply = ", ".join(map(str, ordered))
    think = f"I start with the {'largest' if op == 'down' else 'smallest'} and go on: {reply}."
    expect = {"kind": "words", "value": [str(n) for n in ordered]}
    return Turn(
        user=question, reply=reply, short=f"{reply}.", value=ordered, expect=expect, think=think
    )


def make(rng: Random, split: Split) -> Turn:
    """One list task: words mostly, numbers in one case of five."""
    return _number_turn(rng, split) if rng.random() < 0.2 else _word_turn(rng, split)


_ECHOES = (
    "[Repeat after me|Say|Please repeat|Repeat this|Repeat exactly|Echo|Say exactly this|Write|Copy|Copy this|Print|Type|Quote|Write down|Reply with|Answer with|Give back|Say after me|Return]: <t>",
    "[Repeat|Say|Echo|Copy|Print|Quote|Type] [this|exactly this|these words|the following|what I say|my words][| word for word| letter by letter| without changes| once]: <t>",
    "[Can|Could] you [repeat|say|copy|print|echo] [this|the following]: <t>",
    "[Reply|Answer] [only |just |]with [this|the words|the following]: <t>",
)


def _echoed(rng: Random, split: Split) -> str:
    """Words to repeat: known ones, invented ones, codes, names or a whole sentence."""
    draw = rng.random()
    if draw < 0.35:
        text = " ".join(_drawn_words(rng, split, rng.randint(1, 6)))
    elif draw < 0.6:
        pool = [
            odd_word(rng),
            odd_word(rng),
            rng.choice(vocabulary.ALL),
            str(rng.randint(0, 99_999)),
        ]
        text = " ".join(rng.sample(pool, rng.randint(1, 4)))
    elif draw < 0.75:
        return " ".join(code(rng) for _ in range(rng.randint(1, 2)))
    elif draw < 0.85:
        return f"{title(rng)} {rng.choice(('by', 'from', 'and'))} {surname(rng)}"
    else:
        text = f"the {item(rng)} {rng.choice(('and', 'with', 'or', 'of'))} the {item(rng)} {where(rng)} {when(rng)}"
    return text.capitalize() + rng.choice(".!") if rng.random() < 0.4 else text


def make_echo(rng: Random, split: Split) -> Turn:
    """A request to repeat words exactly."""
    text = _echoed(rng, split)
    question = pick(rng, _ECHOES, t=f'"{text}"' if rng.random() < 0.3 else text)
    expect = {"kind": "exact", "value": text}
    return Turn(
        user=question, reply=text, short=text, value=text, expect=expect, think=f"I repeat: {text}"
    )
