"""Questions that the model cannot know: it says so politely."""

from __future__ import annotations

from random import Random

from demo.corpus import words
from demo.corpus.core import Split, Turn, as_typed, pick, with_chatter
from demo.corpus.names import brand, person, place, surname
from demo.corpus.toolbox import TOOLS

REPLY = "I am sorry, but I do not know that. I am a small demo model."
_LOOKUPS = (
    "get_weather",
    "get_time",
    "get_stock_price",
    "get_distance",
    "search_flights",
    "find_restaurant",
    "get_order",
)
_ASKS = (
    "Who [won|lost|played in] the [final|election|world cup|race|war|match] [in|of] <y>?",
    "Who [is|was] the [president|king|queen|mayor|prime minister|leader] of <p>[| in <y>]?",
    "What is the [capital|population|area|currency|flag|history|climate] of <p>?",
    "When was [<n> <s>|the battle of <p>|the city of <p>|the <t>] [born|founded|invented|built|discovered]?",
    "Who [invented|discovered|designed] the <t>?",
    "Who [wrote|painted|composed|directed] [The <q> <t>|the film about <p>|the song about the <a>]?",
    "[Why|How] [do|does] [a <a>|<as>] [sleep|fly|hunt|hear|see in the dark|live so long|change colour]?",
    "How [tall|deep|long|old|heavy|far] is [the tower of <p>|mount <s>|the lake of <p>|the sun|the moon|a <a>]?",
    "What [is|are] the [side effects|dose|price|formula] of <m>?",
    "[Which|What] [medicine|pill|treatment] [helps|is good] [against|for] [a headache|fever|back pain|a cold]?",
    "[Should I|Is it good to] [buy|sell] [shares of <b>|gold|a house in <p>]?",
    "[What|Who] is [<n> <s>|<b>]?",
    "[Explain|Describe|Tell me about|What is] [quantum physics|the theory of relativity|black holes|photosynthesis|democracy|inflation|evolution|calculus|the Roman empire|the French revolution|gravity|electricity][.|?]",
    "What [happened|was in the news] [in <p>|in <y>|yesterday|last week|today]?",
    "[Write|Give me|Show me] [a program|code|a function] [in|with] [Python|Java|Rust|C] that [sorts a file|reads a page|draws a <t>].",
    "[What will|How will] the [weather|stock market|price of gold|world] be [tomorrow|next year|in <y>]?",
    "What is the [speed of light|boiling point of water|value of pi|square root of two|distance to the moon]?",
    "How do I [fix|build|repair|clean] [a <t>|my car|an engine|a roof]?",
    "[What is|Give me] a [good |]recipe for <f> [soup|cake|pie|salad][?|.]",
    "Which [team|film|book|song|phone|car] is [the best|the most popular] [in <p>|of <y>|right now]?",
    '[Translate|How do you say] "[good night|thank you|the <a> sleeps]" [to|in] [Latin|Chinese|Russian|Finnish].',
    "How many [people|<as>|trees] live in <p>?",
    "Who is the [richest|tallest|oldest|fastest] [person|man|woman] [in the world|in <p>]?",
)


def make(rng: Random, split: Split) -> Turn:
    """A question outside everything the corpus teaches."""
    if rng.random() < 0.12:
        return _needs_tool(rng, split)
    animal = rng.choice(words.ANIMALS)
    name = person(rng, split)
    question = pick(
        rng, _ASKS, y=rng.randint(1200, 2030), p=place(rng), n=name, s=surname(rng), t=rng.choice(words.THINGS),
        q=rng.choice(words.QUALITIES).capitalize(), a=animal, f=rng.choice(words.FOODS), b=brand(rng),
        m=surname(rng).lower(), **{"as": words.plural(animal)},
    )  # fmt: skip
    return _sorry(rng, question, (f"name:{name}",) if name in question else ())


def _needs_tool(rng: Random, split: Split) -> Turn:
    """A question that only a tool could answer, in a conversation that has none."""
    tool = rng.choice([tool for tool in TOOLS if tool.names[0] in _LOOKUPS])
    slots = {key: param.draw(rng, split) for key, param in tool.params.items()}
    return _sorry(rng, pick(rng, tool.asks, **slots), ())


def _sorry(rng: Random, question: str, keys: tuple[str, ...]) -> Turn:
    return Turn(user=with_chatter(rng, as_typed(rng, question)), reply=REPLY, short="I do not know that.", value=None, keys=keys,
                expect={"kind": "contains", "value": ["do not know"]}, think="I do not know this, so I say so.")  # fmt: skip
