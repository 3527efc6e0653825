"""Small texts of single facts in many shapes, so that reading does not hang on a few sentence forms.

Each relation says how a text tells it and how one may ask for either end of it. A text has two to
four facts about different subjects, told one after another or joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.corpus import words
from demo.corpus.core import Split, Turn, fits, lower_first, pick, spin
from demo.corpus.names import brand, person, place, surname

_SPOTS = ("kitchen", "cellar", "attic", "garage", "car", "red box", "top shelf", "garden shed", "hall", "blue bag",
          "office", "left pocket", "cupboard", "boat", "tent", "second room", "library", "station")  # fmt: skip
_NOUNS = ("colour", "size", "weight", "price", "shape", "smell", "owner", "age", "height", "code", "number", "speed",
          "length", "taste", "rank", "label", "brand", "mood", "nickname", "level", "score", "width")  # fmt: skip
_VERBS = (("likes", "like"), ("owns", "own"), ("bought", "buy"), ("found", "find"), ("sells", "sell"), ("paints", "paint"),
          ("lost", "lose"), ("wants", "want"), ("fears", "fear"), ("made", "make"), ("carries", "carry"), ("needs", "need"),
          ("misses", "miss"), ("collects", "collect"), ("repairs", "repair"), ("draws", "draw"), ("hates", "hate"))  # fmt: skip
_DAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "1 May",
    "12 June",
    "3 April",
    "30 July",
)
_PLAYS = (
    "football",
    "chess",
    "tennis",
    "the piano",
    "the guitar",
    "the drums",
    "golf",
    "the violin",
    "cards",
    "hockey",
)

Draw = Callable[[Random, Split], str]


@dataclass(frozen=True, slots=True)
class Relation:
    """<x> the subject, <y> the value, <k> a word that the relation itself varies."""

    subject: Draw
    value: Draw
    says: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    reverse: tuple[str, ...] = ()  # questions that give <y> and ask for <x>


def _person(rng: Random, split: Split) -> str:
    return person(rng, split)


def _thing(rng: Random, _: Split) -> str:
    return spin(
        rng,
        "the [<q> |]<t>",
        q=rng.choice(words.QUALITIES),
        t=rng.choice(words.THINGS + words.ANIMALS + words.FOODS),
    )


def _a_thing(rng: Random, _: Split) -> str:
    thing = rng.choice(words.THINGS + words.ANIMALS + words.FOODS)
    return f"{words.article(thing)} {thing}"


def _place(rng: Random, _: Split) -> str:
    return place(rng)


def _brand(rng: Random, _: Split) -> str:
    return brand(rng)


def _one(pool: tuple[str, ...]) -> Draw:
    return lambda rng, _: rng.choice(pool)


def _int(low: int, high: int) -> Draw:
    return lambda rng, _: str(rng.randint(low, high))


def _word_or_number(rng: Random, _: Split) -> str:
    return (
        str(rng.randint(2, 900))
        if rng.random() < 0.4
        else rng.choice(words.QUALITIES + words.COLOURS)
    )


RELATIONS: tuple[Relation, ...] = (
    Relation(_thing, _one(_SPOTS), ("<x> is in the <y>.", "<x> [stands|lies|was left] in the <y>.", "In the <y> [there is|you see|we found] <x>."),
             ("Where is <x>?", "In [which|what] place is <x>?", "Where can I find <x>?", "Where [should I look for|do I find] <x>?"), "<x> is in the <y>.", ("What is in the <y>?", "What [can I find|is there] in the <y>?")),
    Relation(_thing, _word_or_number, ("The <k> of <x> is <y>.",), ("What is the <k> of <x>?", "[Which|What] <k> does <x> have?", "[Tell me|Say|Give me|I need] the <k> of <x>."), "The <k> of <x> is <y>."),
    Relation(_person, _word_or_number, ("<x>'s <k> is <y>.", "The <k> of <x> is <y>."), ("What is <x>'s <k>?", "What is the <k> of <x>?", "[Tell me|Say|I want to know] <x>'s <k>."), "<x>'s <k> is <y>."),
    Relation(_person, _a_thing, ("<x> <v> <y>.",), ("What does <x> <b>?", "What is it that <x> <v>?", "[Tell me|Do you know] what <x> <v>[.|?]"), "<x> <v> <y>.", ("Who <v> <y>?", "[Which|What] person <v> <y>?")),
    Relation(_person, _one(words.JOBS), ("<x> is <A> <y>.", "<x>, <A> <y>, [is here|came late|sat down].", "The <y> is called <x>.", "<x> works as <A> <y>.", "<x> [earns a living|makes money] as <A> <y>."),
             ("What is <x>'s [work|job|trade|occupation]?", "What does <x> do?", "What kind of work does <x> do?"), "<x> is <A> <y>.", ("Who is the <y>?", "Who works as <A> <y>?", "What is the name of the <y>?", "What is the <y> called?")),
    Relation(_person, _place, ("<x> lives in <y>.", "<x> is from <y>.", "<x> comes from <y>.", "The home of <x> is <y>.", "<x>, who lives in <y>, [smiled|wrote to me].", "In <y> lives <x>."),
             ("Where does <x> come from?", "Where is <x> from?", "Where does <x> live?", "[What|Which] town is <x>'s?", "Where is <x> at home?"), "<x> is from <y>.", ("Who lives in <y>?", "Who is from <y>?", "Who comes from <y>?")),
    Relation(_person, _int(4, 99), ("<x> is <y> years old.", "<x> is <y>.", "<x>, <y> years old, [sings|laughed].", "<x> (<y>) [waits|spoke].", "At <y>, <x> [still works|learned to swim]."),
             ("How old is <x>?", "What age is <x>?", "How many years old is <x>?", "[Tell me|Give me] the age of <x>."), "<x> is <y> years old.", ("Who is <y> years old?", "Who is <y>?")),
    Relation(_thing, _place, ("<x> [comes from|was made in|was sent to|goes to|belongs in] <y>.",), (), ""),
    Relation(_person, _place, ("<x> [goes|travels|flies|drives|walks] to <y>.",), ("Where [is|does] <x> [going|travelling|go]?", "What is the [goal|destination] of <x>?", "[Which|What] city will <x> see?"), "<x> goes to <y>.", ("Who [goes|travels] to <y>?",)),
    Relation(_person, _person, ("<x>'s [sister|brother|friend|teacher|neighbor|boss] is [called |]<y>.", "<x> [met|knows|called|visited|married] <y>."), (), ""),
    Relation(lambda r, s: f"{r.choice(('sister', 'brother', 'friend', 'teacher', 'neighbor', 'boss', 'aunt', 'uncle', 'dog', 'cat', 'horse', 'boat'))} of {person(r, s)}", _person,
             ("The <x> is [called|named] <y>.", "<y> is the <x>.", "<y> is the name of the <x>."), ("What is the name of the <x>?", "[How|What] is the <x> called?", "Who is the <x>?"), "The <x> is called <y>."),
    Relation(_a_thing, _int(2, 990), ("One pays <y> euros for <x>.", "The price of <x> is <y> euros.", "<x> costs <y> euros.", "You get <x> for <y> euros."),
             ("What does <x> cost?", "How much is <x>?", "How much do I pay for <x>?", "How many euros is <x>?"), "It is <y> euros.", ()),
    Relation(lambda r, _: f"the {r.choice(('tower', 'bridge', 'church', 'school', 'house', 'museum', 'wall', 'mill', 'station', 'hotel', 'ship', 'bank'))}{r.choice((' of ' + place(r), ''))}", _int(1205, 2024),
             ("<x> [was built|was opened|burned down|was sold] in <y>.", "In <y>, <x> was [built|opened].", "<x> [has stood there|dates] from <y>."), ("When was <x> [built|opened]?", "From [what|which] year is <x>?", "[What|Which] year belongs to <x>?"), "It was in <y>.", ()),
    Relation(lambda r, _: f"the {r.choice(('party', 'meeting', 'exam', 'trip', 'market', 'wedding', 'game', 'lesson', 'sale', 'film', 'play', 'race'))}", _one(_DAYS),
             ("<x> is on <y>.", "<x> [takes place|starts|begins|was moved to] on <y>.", "On <y> [we have|there is] <x>.", "<y> is the day of <x>."), ("When is <x>?", "[What|Which] day is <x>?", "When does <x> [start|begin|take place]?", "[Tell me|Give me] the day of <x>."), "<x> is on <y>.", ("What is on <y>?", "What happens on <y>?")),
    Relation(_brand, _int(3, 990), ("<x> has <y> [workers|employees|people].", "<y> people work for <x>.", "<x> employs <y> people.", "<x>, a firm with <y> workers, [grows|moved]."), ("How many [workers|employees|people] does <x> have?", "How big is <x>?", "How many work for <x>?"), "<x> has <y> people.", ()),
    Relation(_person, _one(_PLAYS), ("<x> plays <y>.", "<x> [is good at|practises] <y>.", "On Sundays <x> plays <y>."), ("What does <x> play?", "[What|Which] game or instrument does <x> play?", "What is <x> good at?"), "<x> plays <y>.", ("Who plays <y>?",)),
    Relation(_person, _one(words.COLOURS), ("<x> [wears|has] a <y> [coat|hat|shirt|scarf].", "The [coat|hat|bag|shirt] of <x> is <y>.", "<x>'s favourite colour is <y>.", "<x> loves <y>."), ("[What|Which] colo[u|]r [is it for|belongs to|has] <x>?", "[What|Which] colo[u|]r does <x> [like|wear|have]?"), "It is <y>.", ("Whose colo[u|]r is <y>?",)),
    Relation(_person, _one(("English", "French", "German", "Spanish", "Dutch", "Polish", "Arabic", "Hindi", "Greek", "Finnish", "Latin")), ("<x> speaks <y>.", "<x> [talks|sings|writes] in <y>.", "<x> is learning <y>."), ("[What|Which] language does <x> [speak|know|use]?", "What does <x> speak?"), "It is <y>.", ("Who [speaks|knows] <y>?",)),
    Relation(lambda r, _: f"The {r.choice(words.QUALITIES).capitalize()} {r.choice(words.NATURE + words.THINGS).capitalize()}", lambda r, s: f"{person(r, s)} {surname(r)}", ("<x> was written by <y>.", "<y> wrote <x>.", "<y> is the author of <x>.", "<x> is [a book|a song|a film] by <y>."), ("Who [wrote|made] <x>?", "Who is the [author|writer] of <x>?", "By whom is <x>?"), "It is by <y>.", ("What did <y> write?",)),
)  # fmt: skip
_OPEN = (
    "",
    "",
    "",
    "I know this: ",
    "Listen. ",
    "Some facts. ",
    "Here is what I know. ",
    "Yesterday I heard this. ",
    "My notes say: ",
)
_FRAMES = (
    "<t> <q>",
    "<t> <q>",
    "<t>\n<q>",
    "<t>\n\n<q>",
    "<q> <t>",
    "<t> [Question|My question|Now tell me|So|Tell me]: <q>",
    "[Facts|Notes|Text]: <t> [Question|Q]: <q>",
    "<t> [Now|So|OK,|And] <l>",
    '"<t>" <q>',
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A drawn relation."""

    relation: Relation
    slots: dict[str, str]

    def fill(self, rng: Random, patterns: tuple[str, ...]) -> str:
        """One of the patterns with this fact's words; starts with a capital."""
        text = pick(rng, patterns, **self.slots)
        return text[:1].upper() + text[1:]


def _fact(rng: Random, split: Split, relation: Relation) -> Fact:
    value = relation.value(rng, split)
    verb, base = rng.choice(_VERBS)
    slots = {
        "x": relation.subject(rng, split),
        "y": value,
        "k": rng.choice(_NOUNS),
        "v": verb,
        "b": base,
        "A": words.article(value),
    }
    return Fact(relation, slots)


def make(rng: Random, split: Split) -> Turn:
    """A text of loose facts with one question; a third of the texts hold the same relation twice."""
    while True:
        chosen = [rng.choice(RELATIONS) for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.6:
            chosen.append(chosen[0])
        facts = [_fact(rng, split, relation) for relation in chosen]
        used = [slot for fact in facts for slot in (fact.slots["x"], fact.slots["y"])]
        if len(set(used)) < len(used) or not (facts[0].relation.asks or facts[0].relation.reverse):
            continue
        asked = facts[0]
        for fact in facts[1:]:  # one relation, one wording: the question fits both subjects
            if fact.relation is asked.relation and rng.random() < 0.7:
                fact.slots.update({key: asked.slots[key] for key in ("k", "v", "b")})
        back = bool(asked.relation.reverse) and (rng.random() < 0.3 or not asked.relation.asks)
        if back and asked.relation.says[0].startswith("The <k>"):
            continue
        question = asked.fill(rng, asked.relation.reverse if back else asked.relation.asks)
        answer = asked.slots["x"] if back else asked.slots["y"]
        reply = (
            f"{answer[:1].upper()}{answer[1:]}."
            if back
            else asked.fill(rng, (asked.relation.answer,))
        )
        told = asked.fill(rng, asked.relation.says)
        lines = [told, *(fact.fill(rng, fact.relation.says) for fact in facts[1:])]
        rng.shuffle(lines)
        text = _joined(rng, lines)
        if not fits(f"paragraph:{text}", split):
            continue
        asking = (
            pick(rng, _FRAMES)
            .replace("<l>", lower_first(question))
            .replace("<q>", question)
            .replace("<t>", text)
        )
        others = [] if back else [f.slots["y"] for f in facts[1:] if f.relation is asked.relation]
        others = [o for o in others if o not in answer and answer not in o and o not in reply]
        names = tuple(
            f"name:{w}"
            for w in used
            if w.isalpha() and w[0].isupper() and w in asking and _is_name(facts, w)
        )
        return Turn(user=asking, reply=reply, short=f"{answer[:1].upper()}{answer[1:]}.", value=answer,
                    keys=(f"paragraph:{text}", *names), expect={"kind": "fact", "value": answer, "not": others},
                    think=f"The text says: {told}")  # fmt: skip


def _is_name(facts: list[Fact], word: str) -> bool:
    """Whether the word was drawn as a person's name."""
    return any(
        (fact.relation.subject is _person and fact.slots["x"] == word)
        or (fact.relation.value is _person and fact.slots["y"] == word)
        for fact in facts
    )


def _joined(rng: Random, lines: list[str]) -> str:
    """The sentences in turn, two of them now and then joined to one."""
    if len(lines) > 1 and rng.random() < 0.35:
        joint = rng.choice((", ", " and ", ", but ", ", and ", "; "))
        second = (
            lines[1]
            if lines[1].split(" ")[0]
            not in ("The", "There", "In", "On", "At", "A", "An", "One", "You")
            else lower_first(lines[1])
        )
        lines = [lines[0][:-1] + joint + second, *lines[2:]]
    return rng.choice(_OPEN) + " ".join(lines)
