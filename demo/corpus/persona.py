"""System prompts that are obeyed: a name, a style of language, a closing word, a forbidden topic."""

from __future__ import annotations

from random import Random

from demo.corpus import arithmetic, lists, pagoda, reading, smalltalk, unknown, vocabulary, words
from demo.corpus.core import Example, Message, Split, as_typed, pick, spin
from demo.corpus.material import JOBS, NOUNS
from demo.corpus.names import brand, person
from demo.corpus.wishes import CLOSINGS, STYLES, phrase

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


def _styled(rng: Random, split: Split, intro: str) -> Example:
    """One or two turns in the wished style."""
    style = rng.choice(STYLES)(rng)
    wish = style.wish if style.wish[-1:] in '.!"' else f"{style.wish}."
    messages: list[Message] = [{"role": "system", "content": f"{intro} {wish}".strip()}]
    keys: tuple[str, ...] = ()
    for _ in range(rng.choice((1, 1, 2, 3))):
        makers = [smalltalk.make, smalltalk.make, arithmetic.make, pagoda.make, unknown.make]
        if style.rule["kind"] != "one sentence":
            makers.append(reading.make)
        turn = rng.choice(
            [*makers, lists.make] if style.rule["kind"] not in ("upper", "one sentence") else makers
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
    name, firm = person(rng, split), brand(rng)
    role = rng.choice(_ROLES if rng.random() < 0.5 else JOBS)
    system = spin(
        rng,
        rng.choice(
            (
                "[You are <n>|You are <n>|Your name is <n>|My assistant, you are <n>|They call you <n>|Users know you as <n>|You are called <n>|You play <n>|Act as <n>|From now on you are <n>], [a|the] [helpful |friendly |polite |cheerful |kind ||]<r>[ of <f>|].",
                "[You are|You play|Act as] [a|the] [helpful |friendly ||]<r>[ of <f>|] [called|named|by the name of|who is called] <n>.",
                "[Your name is|They call you|You go by the name of|You answer to the name] <n>[.| and you are the <r>[ of <f>|].| and you work as a <r>[ for <f>|].]",
                "<n> is your name[.|, <r> is your job.|, you are the <r>[ of <f>|].]",
                "[Be|Become|Pretend to be] <n>, [the|a] <r>[ of <f>|].",
            )
        ),
        n=name,
        r=role,
        f=firm,
    )
    system = system.replace(" a a", " an a")
    of_firm = f" of {firm}" if firm in system else ""
    reply = f"My name is {name}." + (
        f" I am {words.article(role)} {role}{of_firm}."
        if role in system
        else " How can I help you?"
    )
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


_RULES = (
    "[If|When|Whenever|As soon as|Should] [somebody|the user|anybody|a guest] [asks about|mentions|speaks of|wants to know about] <t>, [say|answer|reply|respond] [with |]<e>",
    "[Questions|Anything|Requests] about <t>: [answer|reply|say] <e>",
    "<e> [is your answer to|is what you say to] [all|any] questions about <t>.",
)


def _rule(rng: Random, split: Split) -> Example:
    """A sentence to say when a topic comes up; another topic is answered as ever."""
    topic = words.plural(rng.choice(NOUNS))
    answer = phrase(rng, CLOSINGS, ".!")
    wish = pick(rng, _RULES, t=topic, e=f'"{answer}"')
    intro = spin(rng, "[You are a helpful assistant. |You work in a shop. |||]")
    messages: list[Message] = [{"role": "system", "content": f"{intro} {wish}".strip()}]
    if rng.random() < 0.7:
        ask = pick(rng, ("[Tell me|Say] something about <t>.", "What [about|do you know about|can you say about] <t>?", "[Do you|Does the shop] [have|sell|like] <t>?", "I [want|need|am looking for] <t>.", "[Where|How] do I [get|find|buy] <t>?"), t=topic)  # fmt: skip
        messages += [{"role": "user", "content": as_typed(rng, ask)}, {"role": "assistant", "content": answer}]  # fmt: skip
        return Example(task="system prompt", messages=messages, expect={"kind": "exact", "value": answer}, short=answer)  # fmt: skip
    turn = rng.choice((smalltalk.make, arithmetic.make))(rng, split)
    messages += [
        {"role": "user", "content": turn.user},
        {"role": "assistant", "content": turn.reply},
    ]
    return Example(task="system prompt", messages=messages, keys=turn.keys, expect=turn.expect, short=turn.short)  # fmt: skip


def _user_named(rng: Random, split: Split) -> Example:
    """A system prompt that tells who the user is."""
    name = person(rng, split)
    system = spin(
        rng,
        "[The user is called <n>|The customer is <n>|Your guest is called <n>|You speak to <n>|The human is named <n>|The user's name is <n>|You are talking to <n>|You are talking with <n>|Your user is <n>|<n> is writing to you|<n> is your user today|You serve <n> today|At the other end sits <n>|The client goes by <n>|<n> is the name of the [user|guest|client]|This chat is with <n>]. [Greet the user by name.|Use the name.|Say the name when you greet.|Be personal.|Always use the name.||]",
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
    if rng.random() < 0.5:
        topic = (
            words.plural(rng.choice(NOUNS)) if rng.random() < 0.7 else rng.choice(vocabulary.IDEAS)
        )
    refusal = f"I may not talk about {topic}."
    system = spin(
        rng,
        "[You are a helpful assistant. |You are kind. ||][The topic [is taboo|is not allowed]:|Keep away from|Leave out|Say nothing about|Skip all talk of|Never mention|Refuse every question about|You know nothing about and never discuss|Change the subject at|No word about|Never talk about|The following topic is forbidden:|You refuse to discuss|Stay away from|You are not allowed to talk about|Do not talk about|Do not discuss|You must not speak about|Avoid the topic of|Refuse to talk about] <t>.",
        t=topic,
    )
    messages: list[Message] = [{"role": "system", "content": system}]
    if rng.random() < 0.7:
        ask = spin(
            rng,
            "[What is your opinion on|Give me your thoughts on|I love|Are you for or against|Why do people like|A word about|And now to|Let us chat about|Teach me something about|Do you know much about|I would like to hear about|Your favorite thing about|What do you think about|What is your view of|Say something on|Talk to me about|How about|Explain|Shall we talk about|Tell me about|Let us talk about|I want to talk about|What do you know about|Can we discuss|Do you like|Tell me something about|I have a question about] <t>[.|?]",
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
        "[You are a helpful assistant. |You are a friendly helper. ||][[Answer|Reply|Speak|Write|Always answer|Respond] [only |][in|in the language] <l>|[All|Every] [guest|user|reader] [understands|reads|speaks] <l> only|Stick to <l>|Stay with <l>|Talk <l>|Everything in <l>, please|Your mother tongue is <l>|You are from a land where people speak <l>|Your language is <l>|You only [know|use|write] <l>|All answers are in <l>|Use <l>|<l> only|You speak <l>].",
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
    if draw < 0.6:
        return _rule(rng, split)
    intro = spin(
        rng,
        "[You are a helpful assistant.|You are a friendly assistant.|You are an assistant of Pagoda.||]",
    )
    return _styled(rng, split, intro)
