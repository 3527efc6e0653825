"""System prompts that are obeyed: a name, a style of language, a closing word, a forbidden topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.corpus import arithmetic, lists, pagoda, smalltalk, unknown, words
from demo.corpus.core import Example, Json, Message, Split, Turn, as_typed, lower_first, pick, spin
from demo.corpus.names import brand, person

_ROLES = (
    "assistant",
    "guide",
    "helper",
    "companion",
    "tutor",
    "chat partner",
    "robot",
    "receptionist",
    "coach",
    "librarian",
)
_CLOSINGS = (
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
_TOPICS = (
    "politics",
    "money",
    "religion",
    "sport",
    "football",
    "films",
    "cars",
    "medicine",
    "the weather",
    "music",
    "cooking",
    "games",
    "school",
    "fashion",
    "history",
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
        "[[Write|Answer|Reply|Speak] [only |always |][in capital letters|in upper case|in all caps|in capitals|in CAPS|in big letters]|Everything you [write|say] is in [capitals|upper case]|ALL YOUR ANSWERS ARE IN UPPER CASE|Capitals only|[Your answers are|All answers must be] in [upper case|capital letters]|WRITE IN CAPITALS].",
    )
    return Style(wish, lambda t: t.reply.upper(), {"kind": "upper"})


def _lower(rng: Random) -> Style:
    wish = spin(
        rng,
        "[[Write|Answer|Reply] [only |always |][in lower case|in small letters|in lowercase|without capital letters|with no capitals]|everything you write is in lowercase|no capital letters[, please|]|[Your answers are|All answers must be] in [lower case|small letters]|Do not use capital letters|Avoid upper case|lowercase only].",
    )
    return Style(wish, lambda t: t.reply.lower(), {"kind": "lower"})


def _closing(rng: Random) -> Style:
    end = (
        rng.choice(_CLOSINGS)
        if rng.random() < 0.5
        else f"{' '.join(rng.sample(words.ALL, rng.randint(1, 3))).capitalize()}{rng.choice('.!')}"
    )
    wish = spin(
        rng,
        "[[End|Close|Finish] [each|every|your|all] [answer|reply|message|answers|replies] with|[Always|Please] [say at the end|end with|close with|finish with]|[Put at the end|Write at the end] of [each|every] [answer|message]|[All|Your] [messages|answers] [end|close|should end|should finish] with|The last words of [each|every] [answer|message] are] [the words |]<e>",
        e=f'"{end}"' if rng.random() < 0.8 else end,
    )
    return Style(wish, lambda t: f"{t.reply} {end}", {"kind": "ends", "value": end})


def _opening(rng: Random) -> Style:
    start = (
        rng.choice(_OPENINGS)
        if rng.random() < 0.5
        else f"{' '.join(rng.sample(words.ALL, rng.randint(1, 2))).capitalize()}{rng.choice('.!:')}"
    )
    wish = spin(
        rng,
        "[[Begin|Start|Open] [each|every|your|all] [answer|reply|message|answers|replies] with|[Always|Please] [say first|start with|begin with|open with]|[Put|Write] [in front of|before] [each|every] [answer|message]|[All|Your] [messages|answers] [start|open|should start|should begin] with|The first words of [each|every] [answer|message] are] [the words |]<e>",
        e=f'"{start}"' if rng.random() < 0.8 else start,
    )
    return Style(wish, lambda t: f"{start} {t.reply}", {"kind": "starts", "value": start})


def _title(rng: Random) -> Style:
    title = rng.choice(_TITLES)
    wish = spin(
        rng, '[Call|Address] the user [as |]"<t>" [in each answer|every time|always|].', t=title
    )
    opened = title[:1].upper() + title[1:]
    return Style(
        wish, lambda t: f"{opened}, {lower_first(t.reply)}", {"kind": "starts", "value": opened}
    )


def _brief(rng: Random) -> Style:
    wish = spin(
        rng,
        "[Be brief|Keep it short|One sentence is enough|Write one short sentence|Use few words|No more than one sentence|Short answers only|Say it in one sentence|Answer in one sentence|Use one short sentence|Give short answers|Reply with one sentence only|Be concise].",
    )
    return Style(wish, lambda t: t.short, {"kind": "one sentence"})


_STYLES: tuple[Callable[[Random], Style], ...] = (
    _upper,
    _lower,
    _closing,
    _closing,
    _opening,
    _title,
    _brief,
)


def _styled(rng: Random, split: Split, intro: str) -> Example:
    """One or two turns in the wished style."""
    style = rng.choice(_STYLES)(rng)
    wish = style.wish if style.wish[-1:] in '.!"' else f"{style.wish}."
    messages: list[Message] = [{"role": "system", "content": f"{intro} {wish}".strip()}]
    keys: tuple[str, ...] = ()
    for _ in range(rng.choice((1, 1, 2, 3))):
        makers = (smalltalk.make, smalltalk.make, arithmetic.make, pagoda.make, unknown.make)
        turn = rng.choice(
            (*makers, lists.make) if style.rule["kind"] not in ("upper", "one sentence") else makers
        )(rng, split)
        messages += [
            {"role": "user", "content": turn.user},
            {"role": "assistant", "content": style.change(turn)},
        ]
        keys += turn.keys
    return Example(task="system prompt", messages=messages, keys=keys, expect=style.rule)


_NAME_ASKS = smalltalk.INTENTS["name"].asks


def _named(rng: Random, split: Split) -> Example:
    """An assistant with a given name, role and maker."""
    name, role, firm = person(rng, split), rng.choice(_ROLES), brand(rng)
    system = spin(
        rng,
        "[You are <n>|You are <n>|Your name is <n>|My assistant, you are <n>|They call you <n>|Users know you as <n>|You are called <n>|You play <n>|Act as <n>|From now on you are <n>], [a|the] [helpful |friendly |polite |cheerful |kind ||]<r>[ of <f>|].",
        n=name,
        r=role,
        f=firm,
    )
    of_firm = f" of {firm}" if firm in system else ""
    reply = f"My name is {name}. I am {words.article(role)} {role}{of_firm}."
    messages: list[Message] = [{"role": "system", "content": system}]
    keys: tuple[str, ...] = (f"name:{name}",)
    if rng.random() < 0.3:
        turn = smalltalk.make(rng, split)
        if smalltalk.SELF_NAME not in turn.reply:
            messages += [
                {"role": "user", "content": turn.user},
                {"role": "assistant", "content": turn.reply},
            ]
            keys += turn.keys
    messages += [
        {"role": "user", "content": as_typed(rng, pick(rng, _NAME_ASKS))},
        {"role": "assistant", "content": reply},
    ]
    return Example(
        task="system prompt",
        messages=messages,
        keys=keys,
        expect={"kind": "contains", "value": [name]},
        short=f"I am {name}.",
        value={"name": name},
    )


def _user_named(rng: Random, split: Split) -> Example:
    """A system prompt that tells who the user is."""
    name = person(rng, split)
    system = spin(
        rng,
        "[The user is called <n>|The customer is <n>|Your guest is called <n>|You speak to <n>|The human is named <n>|The user's name is <n>|You are talking to <n>|You are talking with <n>|Your user is <n>]. [Greet the user by name.|Use the name.|Say the name when you greet.|]",
        n=name,
    )
    ask, reply = rng.choice((
        (pick(rng, smalltalk.INTENTS["hello"].asks), f"Hello, {name}! What can I do for you?"),
        (spin(rng, "[What is|What's|Do you know|Tell me] my name[?|?]"), f"Your name is {name}."),
        ("Who am I?", f"Your name is {name}."),
    ))  # fmt: skip
    messages: list[Message] = [
        {"role": "system", "content": system}, {"role": "user", "content": as_typed(rng, ask)}, {"role": "assistant", "content": reply},
    ]  # fmt: skip
    return Example(
        task="system prompt",
        messages=messages,
        keys=(f"name:{name}",),
        expect={"kind": "contains", "value": [name]},
        short=f"You are {name}.",
        value={"name": name},
    )


def _forbidden(rng: Random, split: Split) -> Example:
    """A topic that must not be discussed, and users who do or do not ask for it."""
    topic, other = rng.sample(_TOPICS, 2)
    refusal = f"I may not talk about {topic}."
    system = spin(
        rng,
        "[You are a helpful assistant. |You are kind. ||][Never talk about|The following topic is forbidden:|You refuse to discuss|Stay away from|You are not allowed to talk about|Do not talk about|Do not discuss|You must not speak about|Avoid the topic of|Refuse to talk about] <t>.",
        t=topic,
    )
    messages: list[Message] = [{"role": "system", "content": system}]
    if rng.random() < 0.7:
        ask = spin(
            rng,
            "[What do you think about|What is your view of|Say something on|Talk to me about|How about|Explain|Shall we talk about|Tell me about|Let us talk about|I want to talk about|What do you know about|Can we discuss|Do you like|Tell me something about|I have a question about] <t>[.|?]",
            t=topic,
        )
        messages += [
            {"role": "user", "content": as_typed(rng, ask)},
            {"role": "assistant", "content": refusal},
        ]
        return Example(
            task="system prompt",
            messages=messages,
            expect={"kind": "exact", "value": refusal},
            short=refusal,
        )
    turn = rng.choice((smalltalk.make, arithmetic.make))(rng, split)
    if topic == "the weather" or other == topic:
        turn = arithmetic.make(rng, split)
    messages += [
        {"role": "user", "content": turn.user},
        {"role": "assistant", "content": turn.reply},
    ]
    return Example(
        task="system prompt",
        messages=messages,
        keys=turn.keys,
        expect=turn.expect,
        short=turn.short,
    )


_TONGUES: dict[str, tuple[str, ...]] = {
    "French": (
        "Bonjour ! Comment puis-je vous aider ?",
        "Je vais bien, merci. Et vous ?",
        "Je vous en prie.",
        "Au revoir et à bientôt !",
        "Je suis un petit modèle de langue.",
        "Bien sûr, je peux vous aider.",
    ),
    "German": (
        "Guten Tag! Wie kann ich helfen?",
        "Mir geht es gut, danke. Und Ihnen?",
        "Gern geschehen.",
        "Auf Wiedersehen und bis bald!",
        "Ich bin ein kleines Sprachmodell.",
        "Natürlich kann ich helfen.",
    ),
    "Spanish": (
        "¡Hola! ¿En qué puedo ayudar?",
        "Estoy bien, gracias. ¿Y usted?",
        "De nada.",
        "¡Adiós y hasta pronto!",
        "Soy un pequeño modelo de lengua.",
        "Claro, puedo ayudar.",
    ),
    "Dutch": (
        "Hallo! Waarmee kan ik helpen?",
        "Het gaat goed met mij, dank u. En met u?",
        "Graag gedaan.",
        "Tot ziens en tot gauw!",
        "Ik ben een klein taalmodel.",
        "Natuurlijk kan ik helpen.",
    ),
}
_TONGUE_INTENTS = ("hello", "how", "thanks", "bye", "human", "help")


def _tongue(rng: Random, split: Split) -> Example:
    """Small talk answered in another language."""
    del split
    language = rng.choice(tuple(_TONGUES))
    idx = rng.randrange(len(_TONGUE_INTENTS))
    reply = _TONGUES[language][idx]
    system = spin(
        rng,
        "[You are a helpful assistant. |You are a friendly helper. ||][[Answer|Reply|Speak|Write|Always answer|Respond] [only |][in|in the language] <l>|Your language is <l>|You only [know|use|write] <l>|All answers are in <l>|Use <l>|<l> only|You speak <l>].",
        l=language,
    )
    messages: list[Message] = [
        {"role": "system", "content": system},
        {
            "role": "user",
            "content": as_typed(rng, pick(rng, smalltalk.INTENTS[_TONGUE_INTENTS[idx]].asks)),
        },
        {"role": "assistant", "content": reply},
    ]
    return Example(
        task="system prompt",
        messages=messages,
        expect={"kind": "exact", "value": reply},
        short=reply,
    )


def make(rng: Random, split: Split) -> Example:
    """A conversation under a system prompt that asks for something."""
    draw = rng.random()
    if draw < 0.25:
        return _named(rng, split)
    if draw < 0.35:
        return _user_named(rng, split)
    if draw < 0.45:
        return _forbidden(rng, split)
    if draw < 0.53:
        return _tongue(rng, split)
    intro = spin(
        rng,
        "[You are a helpful assistant.|You are a friendly assistant.|You are an assistant of Pagoda.||]",
    )
    return _styled(rng, split, intro)
