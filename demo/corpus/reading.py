"""Questions about scenes: several scenes in one text, distractors of the same form, answers copied from it."""

from __future__ import annotations

from random import Random

from demo.corpus.core import Split, Turn, fits, lower_first, pick, spin, upper_first
from demo.corpus.facts import UNSAID
from demo.corpus.scene import Ask, Scene
from demo.corpus.scenes import scene

_FILLERS = (
    "[Nobody|Hardly anyone|Everybody] [talked about|noticed|remembered] it.",
    "The rest of the [day|week|year] was [quiet|busy|dull|cold].",
    "[That is|This was] all [we know|there is to say|I heard].",
    "[More|News] will follow [soon|tomorrow|next month].",
    "It was [raining|dark|warm|late|very loud] [outside|again|that day].",
    "[Many thanks|Best regards|Kind greetings] to all of you.",
    "[You may ask|I asked|We asked] [twice|why|again].",
)
_FRAMES = (
    "<t> <q>", "<t> <q>", "<t>\n<q>", "<t>\n\n<q>", "<q>\n<t>", "<q> <t>", "<t> <c> <l>", "<c> <l> <t>",
    "[Text|Note|Story|Report|Message|Info|Passage|Context|News|Facts]: <t> [Question|Q|Task|Ask]: <q>",
    "[Text|Note|Story|Report|Message|Context]: <t>\n[Question|Q|My question]: <q>\n[Answer|A]:",
    "[Read|Study|Look at|Consider] [this|the following|what follows|my note]: <t> <c> <l>",
    "[Question|Q]: <q>\n[Text|Note|Context]: <t>",
    '"<t>" <q>', "<t> - <l>", "[From|By|Judging by|Going by] [this|these lines|what I wrote], <l> <t>",
    "[I was told|They wrote me|My notes say|The letter says]: <t> <c> <l>",
)  # fmt: skip
_CUES = "[So|Now|And|Well,|Then|Tell me,|Please say,|Can you tell me:|My question is:|What I want to know:|OK,]"


def _together(rng: Random, scenes: list[Scene]) -> str:
    """The scenes in a random order with fillers between."""
    parts = [scene.text for scene in scenes]
    rng.shuffle(parts)
    for idx in range(len(parts), -1, -1):
        if rng.random() < 0.12:
            parts.insert(idx, pick(rng, _FILLERS))
    return " ".join(parts).replace("\n ", "\n").rstrip("\n")


def framed(rng: Random, text: str, question: str) -> str:
    """Text and question as users put them together; a question that comes first closes with its mark."""
    low = lower_first(question)
    frame = pick(rng, _FRAMES, c=spin(rng, _CUES))
    if frame.endswith("<t>") and question[-1:] not in "?.":
        question = f"{question}."
    out = frame.replace("<l>", low).replace("<q>", question).replace("<t>", text)
    return out if rng.random() < 0.9 else lower_first(out)


def _clear(ask: Ask, own: Scene, others: list[Scene]) -> bool:
    """Whether the question fits its own scene only."""
    return all(b in own.text for b in ask.by) and not any(
        b.lower() in other.text.lower() for b in ask.by for other in others
    )


def make(rng: Random, split: Split) -> Turn:
    """A text of one to four scenes with a question about one of them; now and then one it cannot answer."""
    while True:
        own, more = scene(rng, split)
        others = [more() if rng.random() < 0.6 else scene(rng, split)[0] for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 2, 3)))]  # fmt: skip
        ask = rng.choice(own.asks)
        keys = tuple(key for one in (own, *others) for key in one.keys)
        if not _clear(ask, own, others) or len(set(keys)) < len(keys):
            continue
        missing = bool(others) and rng.random() < 0.08
        text = _together(rng, others if missing else [own, *others])
        if not fits(f"paragraph:{text}", split):
            continue
        question = framed(rng, text, ask.question)
        keys = (f"paragraph:{text}", *keys)
        if missing:
            return Turn(user=question, reply=UNSAID, short=UNSAID, value=None, keys=keys,
                        expect={"kind": "exact", "value": UNSAID}, think="I look in the text. It does not say that.")  # fmt: skip
        reply = upper_first(ask.answer) + "."
        wrong = {a.answer for other in others for a in other.asks if a.slot == ask.slot}
        wrong = {a for a in wrong if a not in ask.answer and ask.answer not in a}
        return Turn(user=question, reply=reply, short=reply, value=ask.answer, keys=keys,
                    expect={"kind": "fact", "value": ask.answer, "not": sorted(wrong)},
                    think=f"The text says: {own.text}".replace("\n", " ").rstrip())  # fmt: skip
