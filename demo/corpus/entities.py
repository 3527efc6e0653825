"""People, products, books and other things with attributes, and the sentences that tell them.

Paragraph questions and JSON extraction share this material: an attribute knows how to draw a value,
how a text says it, how a user asks for it and which property names a schema may give it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.corpus import words
from demo.corpus.core import Json, Split, join_words, pick, spin, upper_first
from demo.corpus.names import brand, person, place, surname

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_GENRES = (
    "fantasy",
    "crime",
    "history",
    "romance",
    "travel",
    "science fiction",
    "poetry",
    "horror",
    "adventure",
)
_LANGUAGES = ("English", "French", "German", "Spanish", "Dutch", "Italian", "Polish", "Turkish", "Arabic", "Hindi",
              "Japanese", "Korean", "Swedish", "Greek")  # fmt: skip
_MATERIALS = (
    "wood",
    "steel",
    "cotton",
    "glass",
    "leather",
    "wool",
    "plastic",
    "silk",
    "copper",
    "paper",
    "clay",
)
_TOPICS = (
    "music",
    "art",
    "robots",
    "food",
    "films",
    "sport",
    "gardens",
    "energy",
    "books",
    "design",
    "games",
    "health",
)

Draw = Callable[[Random, Split], Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One property. In its patterns <S> is the subject, <N> the name, <V> the value as text."""

    kind: str  # JSON schema type
    keys: tuple[str, ...]  # names a schema may use
    draw: Draw
    says: tuple[str, ...]  # for booleans: those that say true
    asks: tuple[str, ...] = ()  # empty: the attribute is asked for in JSON only
    answer: str = ""
    denies: tuple[str, ...] = ()  # for booleans: sentences that say false


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entity: its name and its attributes; the name is asked for as a property too."""

    label: str
    name_keys: tuple[str, ...]
    name: Callable[[Random, Split], str]
    pronoun: tuple[str, ...]
    intro: tuple[str, ...]
    attributes: dict[str, Attribute]


def _one(pool: tuple[str, ...]) -> Draw:
    return lambda rng, _: rng.choice(pool)


def _int(low: int, high: int) -> Draw:
    return lambda rng, _: rng.randint(low, high)


def _some(pool: tuple[str, ...], most: int) -> Draw:
    return lambda rng, _: rng.sample(pool, rng.randint(1, most))


def _bool(rng: Random, _: Split) -> bool:
    return rng.random() < 0.5


def _place(rng: Random, _: Split) -> str:
    return place(rng)


def _price(rng: Random, _: Split) -> float:
    return rng.randint(1, 99) + rng.choice((0.25, 0.5, 0.75, 0.95, 0.99, 0.49))


def _date(rng: Random, _: Split) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(_MONTHS)}"


def _title(rng: Random, _: Split) -> str:
    return spin(rng, "The <a> <b>", a=rng.choice(words.QUALITIES).capitalize(),
                b=rng.choice(words.ANIMALS + words.THINGS + words.NATURE).capitalize())  # fmt: skip


def _product(rng: Random, _: Split) -> str:
    return f"{brand(rng)} {rng.choice(words.THINGS)}"


def _event(rng: Random, _: Split) -> str:
    return f"{rng.choice(_TOPICS).capitalize()} {rng.choice(('Day', 'Fair', 'Night', 'Forum', 'Week', 'Festival'))}"


def _email(rng: Random, _: Split) -> str:
    return f"{surname(rng).lower()}@{brand(rng).lower()}.{rng.choice(('com', 'org', 'net'))}"


_A = Attribute
PERSON = Kind("person", ("name", "full_name", "person"), lambda r, s: person(r, s), ("He", "She"),
    ("[This is|Meet|Here is] <N>.", "<N> [is new here|is a friend of mine|called today|wrote to us|joined the team]."), {
    "age": _A(kind="integer", keys=("age", "years", "age_years"), draw=_int(6, 95),
              says=("<S> is <V> years old.", "<S> [just|recently] turned <V>.", "<S> is <V>."),
              asks=("How old is <N>?", "What is <N>'s age?", "What age is <N>?"), answer="<N> is <V> years old."),
    "city": _A(kind="string", keys=("city", "home", "town", "location"), draw=_place,
               says=("<S> lives in <V>.", "<S> [moved|has moved] to <V>.", "<S> has a [flat|house|home] in <V>."),
               asks=("Where does <N> live?", "In which city does <N> live?", "What city does <N> live in?", "Which town is <N>'s home?"),
               answer="<N> lives in <V>."),
    "job": _A(kind="string", keys=("job", "profession", "occupation", "work"), draw=_one(words.JOBS),
              says=("<S> works as a <V>.", "<S> is a <V> [by trade|by profession].", "<S> [makes a living|earns money] as a <V>."),
              asks=("What is <N>'s job?", "What does <N> do for [a living|work]?", "What does <N> work as?", "What is the profession of <N>?"),
              answer="<N> works as a <V>."),
    "hobby": _A(kind="string", keys=("hobby", "pastime", "interest"), draw=_one(words.HOBBIES),
                says=("<S> [loves|enjoys|likes] <V>.", "In [the evening|free time], <P> [enjoys|likes] <V>.", "The hobby of <N> is <V>."),
                asks=("What is <N>'s hobby?", "What does <N> [like|enjoy|love] [doing|to do]?", "What does <N> do for fun?"), answer="<N> enjoys <V>."),
    "pet": _A(kind="string", keys=("pet", "animal", "pet_type"), draw=_one(words.ANIMALS),
              says=("<S> has a pet <V>.", "<S> keeps a <V> as a pet."),
              asks=("[What|Which] pet does <N> have?", "What kind of animal does <N> [keep|have]?", "What is <N>'s pet?"), answer="<N> has a pet <V>."),
    "colour": _A(kind="string", keys=("colour", "color", "favourite_colour", "favorite_color"), draw=_one(words.COLOURS),
                 says=("<S> likes the colour <V> best.", "<G> favourite colour is <V>."),
                 asks=("What is <N>'s favourite colo[u|]r?", "[Which|What] colo[u|]r does <N> like best?"), answer="<N>'s favourite colour is <V>."),
    "food": _A(kind="string", keys=("food", "favourite_food", "snack", "fruit"), draw=_one(words.FOODS),
               says=("<S> eats a <V> every [day|morning].", "For lunch <P> always has a <V>."),
               asks=("What does <N> [always |]eat?", "[Which|What] food does <N> have every day?"), answer="<N> eats a <V>."),
    "email": _A(kind="string", keys=("email", "mail", "email_address"), draw=_email,
                says=("<G> email [address |]is <V>.", "You can [write to|reach] <O> at <V>."),
                asks=("What is <N>'s email [address|]?", "[How|Where] can I [reach|write to] <N>?"), answer="<N>'s email is <V>."),
    "languages": _A(kind="array", keys=("languages", "speaks"), draw=_some(_LANGUAGES, 3),
                    says=("<S> speaks <V>.",), asks=("[Which|What] languages does <N> speak?", "What does <N> speak?"), answer="<N> speaks <V>."),
    "member": _A(kind="boolean", keys=("member", "is_member", "active"), draw=_bool,
                 says=("<S> is a member of the club.", "<S> is an active member."), denies=("<S> is not a member.", "<S> is no longer a member of the club.")),
    "siblings": _A(kind="integer", keys=("children", "kids", "num_children"), draw=_int(2, 9),
                   says=("<S> has <V> children.", "<S> is a parent of <V>."), asks=("How many children does <N> have?", "How many kids has <N>?"), answer="<N> has <V> children."),
})  # fmt: skip
PRODUCT = Kind("product", ("name", "product", "item", "title"), _product, ("It",),
    ("The <N> is [in our catalogue|on the list|on sale|back].", "[We|Our shop] now sell[|s] the <N>."), {
    "price": _A(kind="number", keys=("price", "cost", "price_eur", "amount"), draw=_price,
                says=("<S> costs <V> euros.", "<G> price is <V> euros.", "You pay <V> euros for it."),
                asks=("How much [is|does] the <N>[| cost]?", "What is the price of the <N>?"), answer="The <N> costs <V> euros."),
    "colour": _A(kind="string", keys=("colour", "color"), draw=_one(words.COLOURS), says=("<S> is <V>.", "<S> comes in <V>.", "<G> colour is <V>."),
                 asks=("What colo[u|]r is the <N>?", "[Which|What] colo[u|]r does the <N> come in?"), answer="The <N> is <V>."),
    "quantity": _A(kind="integer", keys=("quantity", "stock", "count", "units"), draw=_int(2, 99),
                   says=("There are <V> of them in stock.", "We have <V> pieces."), asks=("How many of the <N> are in stock?", "How many pieces are there of the <N>?"),
                   answer="There are <V> pieces."),
    "weight": _A(kind="integer", keys=("weight", "weight_g", "grams"), draw=_int(20, 999), says=("<S> weighs <V> grams.", "<G> weight is <V> grams."),
                 asks=("How [much does|heavy is] the <N>[| weigh]?", "What is the weight of the <N>?"), answer="The <N> weighs <V> grams."),
    "materials": _A(kind="array", keys=("materials", "made_of"), draw=_some(_MATERIALS, 3), says=("<S> is made of <V>.",),
                    asks=("What is the <N> made of?",), answer="The <N> is made of <V>."),
    "available": _A(kind="boolean", keys=("available", "in_stock", "on_sale"), draw=_bool, says=("<S> is available now.", "You can order it now."),
                    denies=("<S> is not available now.", "<S> is sold out.")),
    "maker": _A(kind="string", keys=("maker", "brand", "manufacturer", "company"), draw=lambda r, _: brand(r), says=("<S> is made by <V>.", "The maker is <V>."),
                asks=("Who makes the <N>?", "Which [firm|company] makes the <N>?"), answer="The <N> is made by <V>."),
})  # fmt: skip
EVENT = Kind("event", ("title", "name", "event"), _event, ("It",), ("<N> is [coming|back|near].", "[We invite you to|Come to|Do not miss] <N>."), {
    "date": _A(kind="string", keys=("date", "day", "when"), draw=_date, says=("<S> [takes place|is|starts] on <V>.", "The date is <V>."),
               asks=("When is <N>?", "[What|On which] date [is|does] <N>[| start]?", "On what day is <N>?"), answer="<N> is on <V>."),
    "city": _A(kind="string", keys=("city", "place", "location", "venue"), draw=_place, says=("<S> [takes place|is held] in <V>.", "The place is <V>."),
               asks=("Where is <N>?", "Where [does|will] <N> take place?", "In which city is <N>?"), answer="<N> is in <V>."),
    "guests": _A(kind="integer", keys=("guests", "visitors", "attendees", "people"), draw=_int(10, 999), says=("<V> guests are [expected|invited].", "There is room for <V> people."),
                 asks=("How many [guests|people] are expected at <N>?", "How many [guests|people] does <N> have room for?"), answer="<V> people are expected."),
    "host": _A(kind="string", keys=("host", "speaker", "organizer"), draw=lambda r, s: person(r, s), says=("<V> is the host.", "The host is <V>.", "<S> is [hosted|run] by <V>."),
               asks=("Who [hosts|runs] <N>?", "Who is the host of <N>?"), answer="The host is <V>."),
    "free": _A(kind="boolean", keys=("free", "is_free", "free_entry"), draw=_bool, says=("Entry is free.", "<S> is free for all."), denies=("Entry is not free.", "You need to buy a ticket.")),
    "topics": _A(kind="array", keys=("topics", "themes", "tags"), draw=_some(_TOPICS, 3), says=("The topics are <V>.", "<S> is about <V>."),
                 asks=("What [are the topics of <N>|is <N> about]?",), answer="<N> is about <V>."),
})  # fmt: skip
BOOK = Kind("book", ("title", "name", "book"), _title, ("It",), ("<N> is a [new|fine|well known|long] book.", "I [read|bought|found] <N>[ last week|]."), {
    "author": _A(kind="string", keys=("author", "writer", "written_by"), draw=lambda r, s: f"{person(r, s)} {surname(r)}", says=("<S> was written by <V>.", "The author is <V>."),
                 asks=("Who wrote <N>?", "Who is the author of <N>?"), answer="<N> was written by <V>."),
    "pages": _A(kind="integer", keys=("pages", "num_pages", "length"), draw=_int(40, 900), says=("<S> has <V> pages.", "<S> is <V> pages long."),
                asks=("How many pages does <N> have?", "How long is <N>?"), answer="<N> has <V> pages."),
    "year": _A(kind="integer", keys=("year", "published", "year_published"), draw=_int(1901, 2024), says=("<S> came out in <V>.", "<S> was published in <V>."),
               asks=("When [did <N> come out|was <N> published]?", "In which year was <N> published?"), answer="<N> came out in <V>."),
    "genre": _A(kind="string", keys=("genre", "category", "kind"), draw=_one(_GENRES), says=("<S> is a <V> book.", "The genre is <V>."),
                asks=("What genre is <N>?", "What kind of book is <N>?"), answer="<N> is a <V> book."),
    "read": _A(kind="boolean", keys=("available", "in_library", "is_available"), draw=_bool, says=("The library has it.", "You can borrow it."), denies=("The library does not have it.", "You cannot borrow it.")),
})  # fmt: skip
COMPANY = Kind("company", ("name", "company", "company_name"), lambda r, _: brand(r), ("It", "The company", "The firm"),
    ("<N> is a [young|large|small|growing|family] company.", "We [met|visited|wrote about] <N>[ last week|]."), {
    "founded": _A(kind="integer", keys=("founded", "year", "founding_year", "since"), draw=_int(1901, 2024), says=("<S> was founded in <V>.", "<S> has existed since <V>."),
                  asks=("When was <N> founded?", "In which year was <N> founded?", "Since when does <N> exist?"), answer="<N> was founded in <V>."),
    "city": _A(kind="string", keys=("city", "headquarters", "location", "seat"), draw=_place, says=("<S> is based in <V>.", "The head office is in <V>."),
               asks=("Where is <N> based?", "In which city is <N>?", "Where is the head office of <N>?"), answer="<N> is based in <V>."),
    "employees": _A(kind="integer", keys=("employees", "staff", "size", "headcount"), draw=_int(3, 990), says=("<S> has <V> employees.", "<V> people work there."),
                    asks=("How many [people work at|employees does] <N>[| have]?", "How big is the staff of <N>?"), answer="<N> has <V> employees."),
    "product": _A(kind="string", keys=("product", "makes", "sells"), draw=lambda r, _: words.plural(r.choice(words.THINGS + words.FOODS)), says=("<S> makes <V>.", "<S> sells <V>."),
                  asks=("What does <N> [make|sell|produce]?", "What is the product of <N>?"), answer="<N> makes <V>."),
    "boss": _A(kind="string", keys=("boss", "ceo", "director", "head"), draw=lambda r, s: person(r, s), says=("<V> is the [boss|director].", "<S> is led by <V>."),
               asks=("Who [leads|runs] <N>?", "Who is the [boss|director|head] of <N>?"), answer="<V> leads <N>."),
    "remote": _A(kind="boolean", keys=("remote", "remote_work", "hiring"), draw=_bool, says=("<S> is hiring and allows remote work.",), denies=("<S> is not hiring and allows no remote work.",)),
})  # fmt: skip
KINDS = (PERSON, PRODUCT, EVENT, BOOK, COMPANY)
KIND_WEIGHTS = (5, 2, 2, 2, 2)


@dataclass(frozen=True, slots=True)
class Entity:
    """A drawn entity: its name and the values of the attributes its text tells."""

    kind: Kind
    name: str
    values: dict[str, Json]
    sentences: dict[str, str]
    text: str


def value_text(value: Json) -> str:
    """A value as running text has it."""
    return join_words(value) if isinstance(value, list) else str(value)


def entity(rng: Random, split: Split, kind: Kind, count: int) -> Entity:
    """Draw `count` attributes and tell them in a random order after an introduction."""
    name = kind.name(rng, split)
    chosen = rng.sample(sorted(kind.attributes), min(count, len(kind.attributes)))
    pronoun = rng.choice(kind.pronoun)
    own, obj = {"He": ("His", "him"), "She": ("Her", "her")}.get(pronoun, ("Its", "it"))
    values: dict[str, Json] = {}
    sentences: dict[str, str] = {}
    parts = [pick(rng, kind.intro, N=name)] if rng.random() < 0.6 else []
    for key in chosen:
        attribute = kind.attributes[key]
        values[key] = attribute.draw(rng, split)
        told = attribute.denies if values[key] is False else attribute.says
        full = kind.label == "product" and not parts
        named = not parts or rng.random() < 0.25
        subject = (f"The {name}" if full or kind.label == "product" else name) if named else pronoun
        owner = f"{subject}'s" if named else own
        low = (
            (name if named and kind.label != "product" else pronoun.lower())
            if kind is PERSON
            else "it"
        )
        sentence = pick(
            rng, told, S=subject, P=low, G=owner, O=obj, N=name, V=value_text(values[key])
        )
        if name not in sentence and not parts:
            parts.append(pick(rng, kind.intro, N=name))
        for vowel in "aeiou":
            sentence = sentence.replace(f" a {vowel}", f" an {vowel}")
        sentences[key] = upper_first(sentence)
        parts.append(sentences[key])
    return Entity(kind, name, values, sentences, " ".join(parts))
