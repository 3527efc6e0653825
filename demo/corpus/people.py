"""Scenes about persons: who is whose relative, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.corpus import material as m
from demo.corpus.core import Json, Split, join_words, pick, spin, tidy, upper_first
from demo.corpus.deeds import TRAITS
from demo.corpus.names import odd_word, person, place
from demo.corpus.scene import Ask, Field, Scene, several, with_an


@dataclass(frozen=True, slots=True)
class _Personal:
    """One thing said of a person; in `asked`, <n> is the person."""

    said: str
    asked: str
    value: str
    slot: str
    names: tuple[str, ...]
    data: Json


def _personal(rng: Random, split: Split, like: Random) -> Callable[[], _Personal]:
    """Draws facts of one form."""
    kind, verb = like.choice(("job", "age", "city", "has", "likes", "plays", "born", "drives", "room", "trait")), like.random()  # fmt: skip
    del split
    trait, key = like.choice(TRAITS)

    def draw() -> _Personal:
        if kind == "trait":
            v = several(rng)
            return _Personal(f"is {trait} {v}", pick(rng, ("What is <n> <t>?", "[Tell me|Say] what <n> is <t>.", "<n> is <t> what?"), t=trait), v, kind, (key, "about"), v)  # fmt: skip
        if kind == "job":
            v = rng.choice(m.JOBS)
            an = "an" if v[0] in "aeiou" else "a"
            said, asks = f"{rng.choice(('is', 'works as', 'earns a living as', 'was trained as'))} {an} {v}", ("What is <n>'s [job|profession|trade|occupation]?", "What does <n> do [for a living|all day|as work]?", "[Which|What] profession has <n>?", "[As what|In what job] does <n> work?")  # fmt: skip
            return _Personal(
                said, pick(rng, asks), v, kind, ("job", "profession", "occupation", "role"), v
            )
        if kind == "age":
            n = rng.randint(3, 99)
            said = rng.choice((f"is {n}", f"is {n} years old", f"turned {n}", f"will be {n} soon"))
            return _Personal(said, pick(rng, ("How old is <n>?", "What is the age of <n>?", "What age has <n>?", "How many years old is <n>?")), str(n), kind, ("age", "years"), n)  # fmt: skip
        if kind == "city":
            v = place(rng)
            said = f"{rng.choice(('lives in', 'comes from', 'moved to', 'works in', 'grew up in', 'has a house in', 'studied in'))} {v}"  # fmt: skip
            return _Personal(said, pick(rng, ("[In which|In what] [city|town|place] is <n>?", "[Which|What] [city|town|place] [belongs to|is named with|do we read of for] <n>?", "Where is <n> [at home|to be found]?", "Where do we find <n>?")), v, kind, ("city", "town", "place"), v)  # fmt: skip
        if kind == "has":
            v = m.item(rng)
            an = "an" if v[0] in "aeiou" else "a"
            said = f"{'owns' if verb < 0.5 else 'has'} {an} {v}"
            return _Personal(said, pick(rng, ("What does <n> [own|have]?", "[Which|What] thing belongs to <n>?", "What is <n>'s?")), v, kind, ("owns", "thing", "possession"), v)  # fmt: skip
        if kind == "likes":
            v = rng.choice(m.FOODS) if verb < 0.5 else m.noun(rng)
            said = f"{rng.choice(('likes', 'loves', 'adores', 'cannot live without', 'dreams of', 'talks about'))} {v}"  # fmt: skip
            return _Personal(said, pick(rng, ("What does <n> [like|love|enjoy]?", "What is <n> [so |]fond of?", "What [pleases|delights] <n>?")), v, kind, ("likes", "favorite"), v)  # fmt: skip
        if kind == "plays":
            v = rng.choice(("golf", "hockey", "cello", "poker", "rugby", "cricket", "organ", "harp", "bridge", "darts", "squash", "bingo", odd_word(rng)))  # fmt: skip
            return _Personal(f"{rng.choice(('plays', 'is learning', 'teaches', 'practises'))} {v}", pick(rng, ("What does <n> [play|practise|learn]?", "[Which|What] game or instrument is <n>'s?")), v, kind, ("plays", "activity"), v)  # fmt: skip
        if kind == "born":
            y = rng.randint(1900, 2020)
            return _Personal(f"was born in {y}", pick(rng, ("When was <n> born?", "In [which|what] year was <n> born?", "[What|Which] is <n>'s year of birth?")), str(y), kind, ("born", "birth_year", "year"), y)  # fmt: skip
        if kind == "drives":
            v = f"{rng.choice(m.QUALITIES)} {rng.choice(('car', 'van', 'truck', 'bike', 'tractor', 'scooter', 'taxi', 'motorbike'))}"  # fmt: skip
            return _Personal(f"{rng.choice(('drives', 'rides', 'bought'))} the {v}", pick(rng, ("What does <n> drive?", "[Which|What] vehicle [has|uses] <n>?")), v, kind, ("vehicle", "drives"), v)  # fmt: skip
        n = rng.randint(1, 990)
        return _Personal(rng.choice((f"is in room {n}", f"sleeps in room {n}", f"has room {n}")), pick(rng, ("[In which|Which|What] room is <n>['s|]?", "[What|Which] is the room number of <n>?", "Where does <n> sleep?")).replace("'s?", "'s?"), str(n), kind, ("room", "room_number"), n)  # fmt: skip

    return draw


def kin(rng: Random, split: Split, like: Random) -> Scene:
    """Two people, what one is to the other, and a fact of each."""
    first, second = person(rng, split), person(rng, split)
    kin, draw = rng.choice(m.KIN), like.random()
    his = rng.choice(("His", "Her"))
    fact = _personal(rng, split, like)
    one, two = fact(), fact()
    said, asked, slot = one.said, one.asked, one.slot
    other = two.said
    text = pick(rng, (
        "<A> <s1>. <H> <k> <B> <s2>.", "<A> <s1>, [while|but|and] <h> <k> <B> <s2>.", "<A> <s1>. <A>'s <k>, <B>, <s2>.",
        "The <k> of <A> is called <B>. <A> <s1>, <B> <s2>.", "<B> is <A>'s <k>. <B> <s2>. <A> <s1>." if draw < 0.5 else "<A> has a <k> named <B>. <A> <s1>. <H> <k> <s2>.",
    ), A=first, B=second, H=his, h=his.lower(), k=kin, s1=said, s2=other)  # fmt: skip
    asks = (
        Ask(asked.replace("<n>", first), one.value, slot, (first,)),
        Ask(two.asked.replace("<n>", second), two.value, slot, (second,)),
        Ask(two.asked.replace("<n>", f"{first}'s {kin}" if rng.random() < 0.5 else f"the {kin} of {first}"), two.value, slot, (first,)),
        Ask(pick(rng, ("Who is <A>'s <k>?", "What is the name of <A>'s <k>?", "What is the <k> of <A> called?", "How is <A>'s <k> called?"), A=first, k=kin), second, "kin", (first,)),
    )  # fmt: skip
    fields = (Field(("name", "person", "first"), first), Field((kin.split(" ")[-1], "relative", "relation"), second),
              Field(one.names, one.data))  # fmt: skip
    return Scene(text, asks, fields, (f"name:{first}", f"name:{second}"))


def profile(rng: Random, split: Split, like: Random) -> Scene:
    """Several facts of one person, some put in beside the name."""
    who = m.who(rng, split)
    facts = [_personal(rng, split, like)() for _ in range(3)]
    facts = list({fact.slot: fact for fact in facts}.values())
    age, city, land = str(rng.randint(5, 99)), place(rng), m.land(rng)
    far = rng.random() < 0.4
    aside = pick(rng, (", <a>,", " (<a>)", ", <a> years old,", ", aged <a>,"), a=age)
    home = pick(
        rng,
        ("from <c>", "of <c>", "who lives in <c>,", "born in <c>,"),
        c=f"{city}, {land}" if far else city,
    )
    beside = rng.choice(("", "age", "city"))
    facts = [fact for fact in facts if fact.slot != beside]
    name = who.full + {"": "", "age": aside if aside[0] == "," else f" {aside}", "city": f", {home.rstrip(',')},"}[beside]  # fmt: skip
    said = [fact.said for fact in facts]
    he = who.he.capitalize()
    style = rng.random()
    if not said:
        text = f"{name} [is here|waits|has come]."
    elif style < 0.4:
        text = f"{name} {join_words(said)}."
    else:
        text = f"{name} {said[0]}." + "".join(f" {rng.choice((he, he, who.name))} {one}." for one in said[1:])  # fmt: skip
    asks = [Ask(fact.asked.replace("<n>", who.name), fact.value, fact.slot, (who.name,)) for fact in facts]  # fmt: skip
    fields = [
        Field(("name", "person", "full_name"), m.bare(who.proper)),
        *(Field(f.names, f.data) for f in facts),
    ]
    if beside == "age":
        asks.append(Ask(pick(rng, ("How old is <N>?", "What is <N>'s age?", "What is the age of <N>?"), N=who.name), age, "age", (who.name,)))  # fmt: skip
        fields.append(Field(("age", "years"), int(age)))
    if beside == "city":
        asks.append(Ask(pick(rng, ("Where is <N> from?", "Where does <N> live?", "In [which|what] [city|town] do we find <N>?", "[Which|What] [city|town] is <N>'s?"), N=who.name), city, "city", (who.name,)))  # fmt: skip
        fields.append(Field(("city", "town", "home", "birthplace"), city))
    if beside == "city" and far:
        asks.append(Ask(pick(rng, ("From [which|what] [country|land] is <N>?", "[Which|What] [country|land] is <N>'s?", "What is the [country|land] of <N>?"), N=who.name), land, "land", (who.name,)))  # fmt: skip
        fields.append(Field(("country", "land", "nation", "state"), land))
    return Scene(with_an(upper_first(tidy(spin(rng, text)))), tuple(asks), tuple(fields), who.keys)
