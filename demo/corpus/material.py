"""What scenes and word problems are made of: people, things, places, times and figures as phrases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from demo.corpus import vocabulary, words
from demo.corpus.core import Split, is_held, spin
from demo.corpus.names import brand, odd_word, person, place, surname

OBJECTS = words.THINGS + vocabulary.OBJECTS
FOODS = words.FOODS + vocabulary.FOODS
ANIMALS = words.ANIMALS + vocabulary.ANIMALS
JOBS = words.JOBS + vocabulary.PEOPLE
SPOTS = vocabulary.PLACES + words.NATURE
QUALITIES = words.QUALITIES + vocabulary.QUALITIES
NOUNS = OBJECTS + FOODS + ANIMALS
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
LANDS = ("France", "Spain", "Portugal", "Greece", "Turkey", "Egypt", "Kenya", "Ghana", "Chile", "Peru", "Brazil", "Canada",
         "Mexico", "Japan", "Vietnam", "India", "Nepal", "Australia", "Iceland", "Ireland", "Scotland", "Sweden", "Finland",
         "Denmark", "Poland", "Hungary", "Croatia", "Austria", "Switzerland", "Belgium", "Morocco", "Tunisia", "Cuba",
         "Colombia", "Thailand", "Korea", "Mongolia", "Latvia", "Estonia", "Malta")  # fmt: skip
SEASONS = ("spring", "summer", "autumn", "winter")
KIN = ("brother", "aunt", "uncle", "cousin", "daughter", "grandmother", "grandfather", "nephew", "niece", "husband",
       "mother", "father", "roommate", "colleague", "boss", "teacher", "coach", "best friend", "twin", "assistant",
       "landlord", "doctor", "neighbor", "partner")  # fmt: skip
_PREPOSITIONS = (
    "under",
    "behind",
    "near",
    "beside",
    "above",
    "below",
    "next to",
    "in front of",
    "on top of",
)


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody: as the text introduces them, as a question names them, as an answer does, and their pronoun."""

    full: str
    name: str
    proper: str
    he: str
    keys: tuple[str, ...]

    @property
    def his(self) -> str:
        """The possessive of the pronoun."""
        return "his" if self.he == "he" else "her"


def who(rng: Random, split: Split) -> Who:
    """A person by first name, full name, title or role."""
    he, draw = rng.choice(("he", "she")), rng.random()
    if draw < 0.15:
        titles = ("Dr.", "Professor", "Mr.", "Captain", "Judge", "Inspector") if he == "he" else (
            "Dr.", "Professor", "Mrs.", "Ms.", "Captain", "Lady")  # fmt: skip
        name = f"{rng.choice(titles)} {surname(rng)}"
        return Who(name, name, name, he, ())
    if draw < 0.25:
        name = f"the {rng.choice(JOBS)}"
        return Who(name, name, name, he, ())
    first = person(rng, split)
    key = (f"name:{first}",)
    if draw < 0.4:
        return Who(f"my {rng.choice(KIN)} {first}", first, first, he, key)
    if draw < 0.6:
        name = f"{first} {surname(rng)}"
        return Who(name, name if rng.random() < 0.5 else first, name, he, key)
    return Who(first, first, first, he, key)


_LEAD = re.compile(r"^(?:in|at|on) (?!front|top)(?:the )?|^the ")


def bare(phrase: str) -> str:
    """A phrase as data: without `in`, `at`, `on` and the article."""
    return _LEAD.sub("", phrase)


def noun(rng: Random) -> str:
    """A thing, food or animal, now and then one that nobody has heard of."""
    draw = rng.random()
    if draw < 0.12:
        return odd_word(rng)
    pool = OBJECTS if draw < 0.65 else FOODS if draw < 0.85 else ANIMALS
    return rng.choice(pool)


def item(rng: Random) -> str:
    """A noun, often with an adjective."""
    return f"{rng.choice(QUALITIES)} {noun(rng)}" if rng.random() < 0.4 else noun(rng)


def where(rng: Random) -> str:
    """A phrase of place."""
    draw = rng.random()
    if draw < 0.3:
        return f"in {place(rng)}"
    if draw < 0.7:
        return f"{rng.choice(('in', 'at', 'in', 'near', 'behind'))} the {rng.choice(SPOTS)}"
    return f"{rng.choice(_PREPOSITIONS)} the {rng.choice(OBJECTS)}"


def land(rng: Random) -> str:
    """A country, known or made up, whose name is no held-out first name."""
    if rng.random() < 0.6:
        return rng.choice(LANDS)
    while True:
        name = f"{odd_word(rng)}{rng.choice(('ia', 'land', 'stan', 'ica'))}".capitalize()
        if not is_held(f"name:{name}"):
            return name


def clock(rng: Random) -> str:
    """A time of the day, in one of the ways people write it."""
    hour, minute = rng.randint(1, 12), rng.choice((0, 0, 15, 30, 45, rng.randint(1, 59)))
    draw = rng.random()
    if draw < 0.5:
        return f"{rng.randint(0, 23)}:{minute:02d}"
    half = rng.choice(("am", "pm"))
    return f"{hour} {half}" if minute == 0 else f"{hour}:{minute:02d} {half}"


def date(rng: Random) -> str:
    """A day of the year, with and without the year."""
    day, month = rng.randint(1, 28), rng.choice(MONTHS)
    text = f"{month} {day}" if rng.random() < 0.4 else f"{day} {month}"
    return f"{text} {rng.randint(1950, 2030)}" if rng.random() < 0.25 else text


def when(rng: Random) -> str:
    """A phrase of time."""
    draw = rng.random()
    if draw < 0.25:
        return f"on {rng.choice(DAYS)}" + rng.choice(("", "", " morning", " evening", " night"))
    if draw < 0.4:
        return f"on {date(rng)}"
    if draw < 0.55:
        return f"at {clock(rng)}"
    if draw < 0.7:
        return f"in {rng.choice(MONTHS)}"
    if draw < 0.85:
        return f"in {rng.randint(1850, 2030)}"
    return spin(
        rng,
        "[[last|this] [<s>|month|<d>]|before [lunch|dinner|sunrise|the show]|after [work|breakfast|the rain|midnight]|[two|three|five|ten] [days|weeks|months|years] ago]",
        s=rng.choice(SEASONS),
        d=rng.choice(DAYS),
    )


def code(rng: Random) -> str:
    """A number, code, phone number or address that has to be copied letter by letter."""
    draw, letters = rng.random(), "ABCDEFGHJKLMNPQRSTUVWXYZ"
    some = "".join(rng.choice(letters) for _ in range(rng.randint(1, 3)))
    if draw < 0.3:
        return f"{some}{rng.choice(('-', '', ' '))}{rng.randint(1, 9999)}"
    if draw < 0.55:
        return f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}"
    if draw < 0.75:
        return f"{odd_word(rng)}@{brand(rng).lower()}.{rng.choice(('com', 'org', 'net', 'io'))}"
    return str(rng.randint(1000, 999_999))


def title(rng: Random) -> str:
    """The title of a book, song or picture."""
    text = spin(
        rng,
        rng.choice(
            ("The <a> <b>", "<a> <b>", "The <b> of <c>", "<b> and <d>", "The <b>", "A <a> <b>")
        ),
        a=rng.choice(QUALITIES).capitalize(),
        b=noun(rng).capitalize(),
        c=place(rng),
        d=noun(rng).capitalize(),
    )
    return f"An {text[2:]}" if text[:3] in ("A A", "A E", "A I", "A O", "A U") else text
