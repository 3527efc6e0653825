"""Questions about one fact of a given paragraph, now and then one the paragraph does not hold."""

from __future__ import annotations

from random import Random

from demo.corpus import loose
from demo.corpus.core import Split, Turn, fits, pick, spin, upper_first
from demo.corpus.entities import KIND_WEIGHTS, KINDS, Entity, entity, value_text

UNSAID = "The text does not say."
_FILLERS = (
    "The weather was [fine|cold|warm] that day.",
    "[Many|Some|Few] people know this.",
    "It was a [quiet|busy|long] week.",
    "[More|The rest] will follow [soon|later].",
    "Everyone was [happy|curious|pleased].",
    "The coffee was [hot|cold].",
)
_FRAMES = (
    "<p>\n\n<q>",
    "<p>\n<q>",
    "<p> <q>",
    "<q>\n\n<p>",
    "[Text|Passage|Context|Paragraph|Article|Note]: <p>\n\n[Question|Q]: <q>",
    "[Read|Here is|Look at] [this|the following|the] [text|paragraph|passage|note][:|:|.]\n<p>\n\n<q>",
    "[Use|Answer from|Based on] the text[:|:|.] <p>\n\n[Now answer: ||]<q>",
    '[Given the text|According to this text|From the text below|In this text]: "<p>" <q>',
    "I [read|found|got] this: <p> [Tell me: |My question: ||]<q>",
)


def _mix(rng: Random, entities: list[Entity]) -> str:
    """The entities' texts in turn, with fillers between sentences now and then."""
    parts: list[str] = []
    for one in entities:
        parts.append(one.text)
        if rng.random() < 0.3:
            parts.append(pick(rng, _FILLERS))
    if rng.random() < 0.2:
        parts.insert(0, pick(rng, _FILLERS))
    return " ".join(parts)


def paragraph(rng: Random, split: Split) -> tuple[str, list[Entity]]:
    """A paragraph about one to three entities of one kind; its text is the split key."""
    while True:
        kind = rng.choices(KINDS, KIND_WEIGHTS)[0]
        count = rng.choices((1, 2, 3), (5, 4, 1))[0]
        entities = [
            entity(rng, split, kind, rng.randint(2, 5 if count < 3 else 3)) for _ in range(count)
        ]
        text = _mix(rng, entities)
        if len({one.name for one in entities}) == count and fits(f"paragraph:{text}", split):
            return text, entities


def article_fixed(text: str) -> str:
    """`a apple` -> `an apple` for values put after an article."""
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}")
    return text


def make(rng: Random, split: Split) -> Turn:
    """A paragraph with one question."""
    if rng.random() < 0.4:
        return loose.make(rng, split)
    text, entities = paragraph(rng, split)
    asked = rng.choice(entities)
    askable = [key for key in asked.values if asked.kind.attributes[key].asks]
    missing = [k for k, a in asked.kind.attributes.items() if k not in asked.values and a.asks]
    keys = (f"paragraph:{text}", *(f"name:{e.name}" for e in entities if e.kind.label == "person"))
    if missing and (not askable or rng.random() < 0.15):
        attribute = asked.kind.attributes[rng.choice(missing)]
        question = _framed(rng, text, pick(rng, attribute.asks, N=asked.name))
        return Turn(
            user=question, reply=UNSAID, short=UNSAID, value=None, keys=keys,
            expect={"kind": "exact", "value": UNSAID}, think="I look in the text. It does not say that.",
        )  # fmt: skip
    if not askable:
        return make(rng, split)
    key = rng.choice(askable)
    attribute, value = asked.kind.attributes[key], asked.values[key]
    shown = value_text(value)
    question = _framed(rng, text, pick(rng, attribute.asks, N=asked.name))
    reply = article_fixed(spin(rng, attribute.answer, N=asked.name, V=shown))
    others = [
        value_text(e.values[key]) for e in entities if key in e.values and e.values[key] != value
    ]
    return Turn(
        user=question, reply=reply, short=f"{upper_first(shown)}.", value=value, keys=keys,
        expect={"kind": "fact", "value": shown, "not": others}, think=f"The text says: {asked.sentences[key]}",
    )  # fmt: skip


def _framed(rng: Random, text: str, question: str) -> str:
    """Text and question in one of the ways users put them together."""
    if rng.random() < 0.15:
        question = question[:1].lower() + question[1:]
    return pick(rng, _FRAMES).replace("<p>", text).replace("<q>", question)
