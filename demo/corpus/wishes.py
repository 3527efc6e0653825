"""Wishes of a system prompt about the form of replies: capitals, first and last words, a title, brevity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.corpus import vocabulary
from demo.corpus.core import Json, Turn, lower_first, spin
from demo.corpus.material import QUALITIES, item
from demo.corpus.names import odd_word

CLOSINGS = (
    "Over.",
    "Have a nice day!",
    "Stay curious!",
    "That is all.",
    "Best wishes.",
    "Cheers!",
    "So it is.",
    "At your service.",
    "Good luck!",
    "Bye for now.",
)
_OPENINGS = (
    "Sure:",
    "Well,",
    "Beep!",
    "Listen:",
    "Of course:",
    "Answer:",
    "Dear user,",
    "Hmm,",
    "Okay:",
    "Good question!",
)
_TITLES = (
    "Captain",
    "Boss",
    "Sir",
    "Madam",
    "Professor",
    "my friend",
    "Your Majesty",
    "Doctor",
    "Chief",
    "neighbor",
)


@dataclass(frozen=True, slots=True)
class Style:
    """A wish of the system prompt, how it changes a turn, and the rule that checks it."""

    wish: str
    change: Callable[[Turn], str]
    rule: dict[str, Json]


def _upper(rng: Random) -> Style:
    wish = spin(
        rng,
        rng.choice(
            (
                "[[Write|Answer|Reply|Speak] [only |always |][in capital letters|in upper case|in all caps|in capitals|in CAPS|in big letters]|Everything you [write|say] is in [capitals|upper case]|ALL YOUR ANSWERS ARE IN UPPER CASE|Capitals only|[Your answers are|All answers must be] in [upper case|capital letters]|WRITE IN CAPITALS].",
                "[Keep|Leave|Hold|Lock] [the|your] [caps lock|shift key] [on|down][ at all times| all the time|].",
                "[Nothing but|Only|Strictly|Exclusively] [upper case|capital letters|capitals|big letters][, please|][.|!]",
                "[Lower case|Small letters|Little letters] [is forbidden|are forbidden|must not appear|are not for you|do not exist].",
                "[You always|You only|Always] [yell|cry out|write loudly|use capitals|talk in capitals].",
                "[USE|TYPE|KEEP TO|STAY WITH] [CAPITALS|UPPER CASE|BIG LETTERS][ AT ALL TIMES| ONLY|].",
                "[Each|Every] [letter|word|character] [you write|of yours|of your answer] [is|must be|has to be] [a capital|in upper case|in capitals].",
                "[Make|Turn|Put] [every|each] [answer|reply|sentence] [all caps|into capitals|into upper case].",
            )
        ),
    )
    return Style(wish, lambda t: t.reply.upper(), {"kind": "upper"})


def _lower(rng: Random) -> Style:
    wish = spin(
        rng,
        rng.choice(
            (
                "[[Write|Answer|Reply] [only |always |][in lower case|in small letters|in lowercase|without capital letters|with no capitals]|everything you write is in lowercase|no capital letters[, please|]|[Your answers are|All answers must be] in [lower case|small letters]|Do not use capital letters|Avoid upper case|lowercase only].",
                "[Nothing but|Only|Strictly|Exclusively] [lower case|lowercase|small letters|little letters][, please|][.|!]",
                "[Upper case|Capital letters|Capitals|Big letters] [is forbidden|are forbidden|must not appear|are not for you|do not exist].",
                "[keep|stay|type] [everything|it all|all text] [small|lowercase|in small letters], [even names|even the first word|also at the start].",
                "[Each|Every] [letter|word|character] [you write|of yours|of your answer] [is|must be|has to be] [small|in lower case|lowercase].",
                "[Make|Turn|Put] [every|each] [answer|reply|sentence] [lowercase|into small letters|into lower case].",
                "[You have no|There is no|Forget the] shift key.",
            )
        ),
    )
    return Style(wish, lambda t: t.reply.lower(), {"kind": "lower"})


def phrase(rng: Random, known: tuple[str, ...], ends: str) -> str:
    """Words to put before or after each reply: known ones, any words, or a sentence."""
    draw = rng.random()
    if draw < 0.3:
        return rng.choice(known)
    if draw < 0.5:
        return f"{odd_word(rng).capitalize()}{rng.choice(ends)}"
    if draw < 0.6:
        return f"The {item(rng)} is {rng.choice(QUALITIES)}{rng.choice(ends)}"
    return (
        f"{' '.join(rng.sample(vocabulary.ALL, rng.randint(1, 3))).capitalize()}{rng.choice(ends)}"
    )


def _shown(rng: Random, text: str) -> str:
    """The words as a wish has them, mostly in quotes."""
    return rng.choice((f'"{text}"', f'"{text}"', f'"{text}"', f"'{text}'", text))


def _closing(rng: Random) -> Style:
    end = phrase(rng, CLOSINGS, ".!")
    wish = spin(
        rng,
        rng.choice(
            (
                "[[End|Close|Finish] [each|every|your|all] [answer|reply|message|answers|replies] with|[Always|Please] [say at the end|end with|close with|finish with]|[Put at the end|Write at the end] of [each|every] [answer|message]|[All|Your] [messages|answers] [end|close|should end|should finish] with|The last words of [each|every] [answer|message] are] [the words |]<e>",
                "[Sign off|Say goodbye|Wrap up|Conclude|Round off] [each|every|any] [answer|reply|message|text] with <e>",
                "[After|At the close of|At the end of|Behind] [each|every|any] [answer|reply|message|text] [you write|you add|comes|add|put|say] <e>",
                "[You never|Never|Do not] [finish|end|stop] without <e>",
                "[The|Your] last [word|words|line] [is|are|must be|should be] [always |]<e>",
                "[Add|Append|Attach] <e> to [each|every|any|the end of each|the end of every] [answer|reply|message].",
                "<e> [closes|ends|finishes|comes last in] [each|every|any] [answer|reply|message] of yours.",
            )
        ),
        e=_shown(rng, end),
    )
    return Style(wish, lambda t: f"{t.reply} {end}", {"kind": "ends", "value": end})


def _opening(rng: Random) -> Style:
    start = phrase(rng, _OPENINGS, ".!:")
    wish = spin(
        rng,
        rng.choice(
            (
                "[[Begin|Start|Open] [each|every|your|all] [answer|reply|message|answers|replies] with|[Always|Please] [say first|start with|begin with|open with]|[Put|Write] [in front of|before] [each|every] [answer|message]|[All|Your] [messages|answers] [start|open|should start|should begin] with|The first words of [each|every] [answer|message] are] [the words |]<e>",
                "[Before|In front of|Ahead of] [each|every|any] [answer|reply|message|text] [you write|you say|comes|put|say] <e>",
                "[You never|Never|Do not] [begin|start|open] without <e>",
                "[The|Your] first [word|words] [is|are|must be|should be] [always |]<e>",
                "<e> [opens|starts|begins|comes first in|leads] [each|every|any] [answer|reply|message] of yours.",
                "[Lead|Introduce|Head|Prefix] [each|every|any] [answer|reply|message] with <e>",
            )
        ),
        e=_shown(rng, start),
    )
    return Style(wish, lambda t: f"{start} {t.reply}", {"kind": "starts", "value": start})


def _both(rng: Random) -> Style:
    start, end = phrase(rng, _OPENINGS, ".!:"), phrase(rng, CLOSINGS, ".!")
    wish = spin(
        rng,
        "[Begin|Start|Open] [each|every] [answer|reply|message] with <a> and [end|close|finish] [it |]with <e>",
        a=_shown(rng, start), e=_shown(rng, end),
    )  # fmt: skip
    return Style(wish, lambda t: f"{start} {t.reply} {end}", {"kind": "ends", "value": end})


def _title(rng: Random) -> Style:
    title = rng.choice(_TITLES) if rng.random() < 0.6 else f"{rng.choice(('Captain', 'Sir', 'Master', 'Lady', 'dear', 'King'))} {odd_word(rng).capitalize()}"  # fmt: skip
    wish = spin(
        rng,
        rng.choice(
            (
                '[Call|Address] the user [as |]"<t>" [in each answer|every time|always|].',
                'The user [wants|likes|prefers|has] to be [called|addressed as] "<t>".',
                '[Speak|Talk|Write] to the user as "<t>".',
                'For you the user is "<t>"[, always|].',
            )
        ),
        t=title,
    )
    opened = title[:1].upper() + title[1:]
    return Style(
        wish, lambda t: f"{opened}, {lower_first(t.reply)}", {"kind": "starts", "value": opened}
    )


def _brief(rng: Random) -> Style:
    wish = spin(
        rng,
        rng.choice(
            (
                "[Be brief|Keep it short|One sentence is enough|Write one short sentence|Use few words|No more than one sentence|Short answers only|Say it in one sentence|Answer in one sentence|Use one short sentence|Give short answers|Reply with one sentence only|Be concise].",
                "[The user|Everybody|My boss] [has no time|is in a hurry|hates long texts|likes it short]. [Be quick|Keep it brief|One sentence will do|Use one sentence].",
                "[Never|Do not] [write|say|use] more than [one sentence|a sentence|one short line].",
                "[Limit|Restrict|Cut] [yourself|each answer|your replies] to [one sentence|a single line|one short line].",
                "[Brevity|Shortness] [first|please|counts|is all].",
                "[Long|Lengthy] [answers|replies] [are forbidden|are not wanted|annoy people]. [Short ones only|Be short|Say it briefly].",
            )
        ),
    )
    return Style(wish, lambda t: t.short, {"kind": "one sentence"})


STYLES: tuple[Callable[[Random], Style], ...] = (
    _upper,
    _lower,
    _closing,
    _closing,
    _opening,
    _both,
    _title,
    _brief,
)
