"""Scenes of things: measures, where they are, works, places, trips and plain records."""

from __future__ import annotations

from random import Random

from demo.corpus import material as m
from demo.corpus import vocabulary
from demo.corpus.core import Json, Split, join_words, pick, spin, upper_first
from demo.corpus.names import brand, odd_word, person, place, surname
from demo.corpus.scene import Ask, Field, Scene, with_an

# (what is said of it, question words, unit, lowest, highest, JSON names)
_MEASURES = (
    ("is <v> long", "[How long is|What is the length of] <x>", ("meters", "feet", "miles", "inches"), 2, 900, ("length",)),
    ("is <v> high", "[How high|How tall] is <x>", ("meters", "feet"), 2, 900, ("height",)),
    ("is <v> wide", "[How wide is|What is the width of] <x>", ("meters", "feet", "inches"), 2, 90, ("width",)),
    ("is <v> deep", "[How deep is|What is the depth of] <x>", ("meters", "feet"), 2, 400, ("depth",)),
    ("weighs <v>", "[How heavy is <x>|How much does <x> weigh|What does <x> weigh|What is the weight of <x>]", ("kilos", "pounds", "grams", "tons"), 2, 900, ("weight", "mass")),
    ("costs <v>", "[How much is <x>|How much does <x> cost|What does <x> cost|What do I pay for <x>|What is the price of <x>]", ("euros", "dollars", "pounds", "coins", "crowns"), 2, 990, ("price", "cost")),
    ("takes <v>", "[How long does <x> take|How much time does <x> take]", ("minutes", "hours", "days", "weeks"), 2, 90, ("duration", "time_needed")),
    ("lasts <v>", "[How long does <x> last|What is the duration of <x>]", ("minutes", "hours", "days"), 2, 90, ("duration", "minutes")),
    ("holds <v>", "[How much does <x> hold|How much fits into <x>|How many does <x> hold]", ("liters", "people", "bottles", "gallons"), 2, 500, ("capacity", "volume")),
    ("is <v> old", "[How old is|What is the age of] <x>", ("years", "months", "weeks"), 2, 300, ("age",)),
    ("needs <v> of power", "[How much power does <x> need|What power does <x> need]", ("watts", "volts"), 2, 900, ("power",)),
    ("is <v> away", "[How far away is|How far is it to|What is the distance to] <x>", ("miles", "steps", "blocks", "yards"), 2, 900, ("distance",)),
    ("runs at <v>", "[How fast is|How fast runs|What is the speed of] <x>", ("knots", "miles an hour", "turns a minute"), 2, 300, ("speed",)),
)  # fmt: skip
_CONDITIONS = (
    ("in summer", "in winter"), ("for adults", "for children"), ("by car", "by bike"), ("at noon", "at midnight"),
    ("on the left side", "on the right side"), ("in the north", "in the south"), ("with a card", "without a card"), ("for members", "for guests"),
    ("upstairs", "downstairs"), ("in May", "in October"), ("on rainy days", "on dry days"), ("for the small room", "for the large room"),
    ("before the change", "after the change"), ("when full", "when empty"), ("in the old plan", "in the new plan"),
)  # fmt: skip


def measure(rng: Random, split: Split, like: Random) -> Scene:
    """A thing measures so much, perhaps one figure under one condition and another under another."""
    del split
    said, asked, units, low, high, names = like.choice(_MEASURES)
    unit, thing = like.choice(units), m.item(rng)
    both = rng.random() < 0.4
    values = [f"{v} {unit}" for v in rng.sample(range(low, high), 2)]
    first, second = rng.sample(rng.choice(_CONDITIONS), 2) if both else ("", "")
    is_said = said.replace("<v>", values[0])
    text = f"The {thing} {is_said}"
    if both:
        again = rng.choice((f"{values[1]} {second}", f"{said.replace('<v>', values[1])} {second}"))
        text = (
            f"{text} {first}{rng.choice((' and ', ', but ', ', and '))}{again}."
            if rng.random() < 0.7
            else f"{upper_first(first)}, the {thing} {is_said}. {upper_first(second)} it {said.replace('<v>', values[1])}."
        )
    else:
        text = (
            text + "."
            if rng.random() < 0.7
            else spin(rng, f"[We know|He says|They found] that the {thing} {is_said}.")
        )
    question = spin(rng, asked, x=f"the {thing}")
    asks = [Ask(f"{question}{' ' + first if both else ''}?", values[0], "v", (thing,))]
    if both:
        asks += [Ask(f"{question} {second}?", values[1], "v", (thing,)),
                 Ask(f"{upper_first(first)}, {question[0].lower()}{question[1:]}?", values[0], "v", (thing,))]  # fmt: skip
    fields = [Field(("name", "thing", "item", "object"), thing)]
    if not both:
        fields += [Field(names, int(values[0].split(" ")[0])), Field(("unit", "units"), unit)]
    return Scene(text, tuple(asks), tuple(fields))


def kept(rng: Random, split: Split, like: Random) -> Scene:
    """Somebody's things and where they are, told with pronouns."""
    who, first, second = m.who(rng, split), m.item(rng), m.item(rng)
    here, there = m.where(rng), m.where(rng)
    verb = like.choice(("is", "lies", "was left", "stands", "hangs", "is kept"))
    got = rng.choice(("got", "chose", "built", "was given", "ordered", "picked", "made"))
    two = rng.random() < 0.6
    slots = {"W": who.full, "N": who.name, "He": who.he.capitalize(), "His": who.his.capitalize(), "his": who.his, "x": first, "y": second,
             "at": here, "on": there, "v": verb, "g": got, "t": m.when(rng)}  # fmt: skip
    told = slots | {"N": who.proper}
    text = (
        pick(rng, ("<N>'s <x> <v> <at>. <His> <y> <v> <on>.", "The <x> of <N> <v> <at>, the <y> <on>.", "<W> put the <x> <at> and the <y> <on>.", "<W> has two things: a <x> <at> and a <y> <on>.", "<N>'s <x> <v> <at>, but <his> <y> <v> <on>."), **told)
        if two
        else pick(rng, ("<W> <g> a <x> <t>. It <v> <at> now.", "<W> <g> a <x> <t>. <He> [keeps|stores|hides|has|put] it <at>.", "A <x> belongs to <N>. It <v> <at>.", "<W>, [who|the one who] <g> a <x> <t>, [keeps|stores] it <at>."), **told)
    )  # fmt: skip
    asks = [Ask(pick(rng, ("Where is the <x>[ now|]?", "Where is <N>'s <x>?", "Where does <N> [keep|have] the <x>?", "[Tell me|I look for it:] where is the <x>?", "[In|At] [which|what] place is the <x>?", "Where do I find the <x> of <N>?"), **slots), here, "where", (first,))]  # fmt: skip
    if two:
        asks.append(Ask(pick(rng, ("Where is the <y>[ now|]?", "Where is <N>'s <y>?", "Where does <N> [keep|have] the <y>?", "[In|At] [which|what] place is the <y>?"), **slots), there, "where", (second,)))  # fmt: skip
        asks.append(Ask(pick(rng, ("What is <at>?", "What do I find <at>?", "[Which|What] thing is <at>?"), **slots), f"the {first}", "what", (here,)))  # fmt: skip
    else:
        asks.append(Ask(pick(rng, ("Who <g> the <x>?", "Whose is the <x>?", "To whom belongs the <x>?") if "belongs" not in text else ("Whose is the <x>?", "To whom belongs the <x>?"), **slots), who.proper, "who", (first,)))  # fmt: skip
    fields = [Field(("owner", "person", "name"), m.bare(who.proper)), Field(("item", "thing", "object"), first), Field(("place", "where", "location"), m.bare(here))]  # fmt: skip
    return Scene(upper_first(with_an(text)), tuple(asks), tuple(fields), who.keys)


_WORKS = (("song", "sung", "sang"), ("statue", "carved", "carved"), ("opera", "composed", "composed"), ("novel", "written", "wrote"), ("painting", "painted", "painted"),
          ("play", "written", "wrote"), ("film", "directed", "directed"), ("garden", "planned", "planned"), ("tower", "built", "built"), ("poster", "drawn", "drew"),
          ("engine", "invented", "invented"), ("map", "printed", "printed"), ("dance", "created", "created"), ("game", "designed", "designed"))  # fmt: skip


def work(rng: Random, split: Split, like: Random) -> Scene:
    """A work with its maker and year."""
    kind, done, past = like.choice(_WORKS)
    first = person(rng, split)
    maker, name, year = f"{first} {surname(rng)}", m.title(rng), rng.randint(1500, 2030)
    slots = {"k": kind, "d": done, "p": past, "M": maker, "n": name, "y": year}
    text = pick(rng, ("The <k> \"<n>\" was <d> by <M> in <y>.", "<M> <p> the <k> <n> in <y>.", "In <y>, <M> <p> the <k> <n>.", "<n> is a <k> by <M> from <y>.", "<n>, <d> by <M> in <y>, is a <k>.", "<n> is a <k>. It was <d> in <y>. <M> [made it|is its maker|is behind it]."), **slots)  # fmt: skip
    asks = (
        Ask(pick(rng, ("Who <p> <n>?", "By whom was <n> <d>?", "Who is [the maker of|behind] <n>?", "Whose <k> is <n>?", "Who <p> the <k> <n>?"), **slots), maker, "who", (name,)),
        Ask(pick(rng, ("When was <n> <d>?", "In [which|what] year was <n> <d>?", "From [which|what] year is <n>?", "In what year did <M> make the <k>?"), **slots), str(year), "when", (name,)),
        Ask(pick(rng, ("What did <M> make?", "[Which|What] <k> is by <M>?", "What is the [title|name] of the <k> by <M>?", "What is <M>'s <k> called?"), **slots), name, "what", (maker,)),
    )  # fmt: skip
    fields = (Field(("title", "name", "work"), name), Field(("author", "maker", "artist", "creator"), maker), Field(("year", "date", "made"), year), Field(("kind", "type", "genre"), kind))  # fmt: skip
    return Scene(with_an(upper_first(text)), asks, fields, (f"name:{first}",))


_HOUSES = ("cafe", "bakery", "library", "clinic", "theater", "campsite", "gallery", "restaurant", "school", "farm", "garage", "gym", "bank",
           "aquarium", "inn", "hostel", "factory", "market", "pharmacy", "club", "studio", "harbor", "zoo", "laundry")  # fmt: skip
# (JSON names, true, false)
_SWITCHES = (
    (("open", "is_open"), "is open", "is closed"), (("new", "is_new"), "is new", "is not new"), (("heated", "has_heating"), "is heated", "has no heating"),
    (("wifi", "has_wifi"), "has wifi", "has no wifi"), (("pets", "pets_allowed"), "allows pets", "does not allow pets"), (("parking", "has_parking"), "has parking", "has no parking"),
    (("full", "is_full"), "is full", "is not full"), (("public", "is_public"), "is public", "is private"), (("for_sale", "sale"), "is for sale", "is not for sale"),
    (("garden", "has_garden"), "has a garden", "has no garden"), (("busy", "is_busy"), "is busy", "is quiet"), (("clean", "is_clean"), "is clean", "is dirty"),
)  # fmt: skip
_PARTS = (("rooms", "rooms"), ("tables", "tables"), ("workers", "workers"), ("seats", "seats"), ("floors", "floors"), ("beds", "beds"), ("doors", "doors"), ("books", "books"), ("visitors", "visitors a day"))  # fmt: skip


def house(rng: Random, split: Split, like: Random) -> Scene:
    """A named place with figures and things that are so or not so."""
    kind = rng.choice(_HOUSES)
    names, part = like.choice(_PARTS)
    owner, city, name, count = person(rng, split), place(rng), brand(rng), rng.randint(2, 900)
    switch, yes, no = rng.choice(_SWITCHES)
    so, phone = rng.random() < 0.5, m.code(rng)
    has_phone = rng.random() < 0.4
    slots = {
        "k": kind,
        "n": name,
        "c": city,
        "o": owner,
        "v": count,
        "p": part,
        "s": yes if so else no,
        "f": phone,
    }
    text = pick(rng, ("The <k> <n> in <c> has <v> <p> and <s>.", "<n> is a <k> in <c>. It has <v> <p>. It <s>.", "In <c> there is a <k> called <n>. It <s> and has <v> <p>.", "With <v> <p>, <n> is a small <k> in <c>. The <k> <s>.", "The <k> <n> <s>. It is in <c> and has <v> <p>."), **slots)  # fmt: skip
    text += " " + pick(rng, ("<o> [runs|owns|leads] it.", "It belongs to <o>.", "The owner is <o>.", "It is run by <o>."), **slots)  # fmt: skip
    if has_phone:
        text += " " + pick(
            rng, ("The number is <f>.", "You reach it at <f>.", "Contact: <f>."), **slots
        )
    asks = [
        Ask(pick(rng, ("How many <p> does <n> have?", "How many <p> has the <k>?", "What is the number of <p>[ of <n>|]?", "How many <p> are there?"), **slots), str(count), "count", (name,)),
        Ask(pick(rng, ("Where is <n>?", "In [which|what] [city|town] is <n>?", "Where do I find the <k> <n>?"), **slots), city, "city", (name,)),
        Ask(pick(rng, ("Who [runs|owns] <n>?", "To whom does <n> belong?", "Who is the owner of <n>?", "Whose is the <k> <n>?"), **slots), owner, "owner", (name,)),
        Ask(pick(rng, ("What is the name of the <k> in <c>?", "[Which|What] <k> is in <c>?", "How is the <k> [of <o>|in <c>] called?"), **slots), name, "name", (city,)),
    ]  # fmt: skip
    fields = [Field((kind, "name", "place_name"), name), Field(("city", "town", "location"), city), Field((names, f"num_{names}", "count"), count), Field(switch, so), Field(("owner", "manager", "boss"), owner)]  # fmt: skip
    if has_phone:
        asks.append(Ask(pick(rng, ("How do I reach <n>?", "What is the [number|contact] of <n>?", "What is the contact of the <k>?"), **slots), phone, "phone", (name,)))  # fmt: skip
        fields.append(Field(("phone", "contact", "code"), phone))
    return Scene(with_an(upper_first(text)), tuple(asks), tuple(fields), (f"name:{owner}",))


def trip(rng: Random, split: Split, like: Random) -> Scene:
    """A bus, plane or boat with its goal, time and gate."""
    del split
    vehicle = like.choice(("bus", "plane", "boat", "tram", "coach", "night train", "shuttle", "taxi", "helicopter", "sleigh"))  # fmt: skip
    goal, time, gate = place(rng), m.clock(rng), rng.choice((str(rng.randint(1, 40)), m.code(rng)))
    verb, day = like.choice(("leaves", "departs", "starts", "sets off")), rng.choice(m.DAYS)
    by_day = like.random() < 0.4
    stamp = f"on {day}" if by_day else f"at {time}"
    slots = {"k": vehicle, "g": goal, "t": stamp, "T": upper_first(stamp), "n": gate, "v": verb, "y": like.choice(("gate", "stop", "pier", "platform", "door"))}  # fmt: skip
    text = pick(rng, ("The <k> to <g> <v> <t> from <y> <n>.", "<T>, the <k> to <g> <v> from <y> <n>.", "For <g>, take the <k> from <y> <n>. It <v> <t>.", "The <k> to <g>: <y> <n>, it <v> <t>.", "From <y> <n> goes the <k> to <g>. It <v> <t>."), **slots)  # fmt: skip
    asks = (
        Ask(pick(rng, ("When does the <k> to <g> [leave|go|start|depart]?", "[On what day|On which day] [goes|leaves] the <k> to <g>?" if by_day else "At [what|which] time does the <k> to <g> [leave|go]?", "When can I go to <g>?"), **slots), stamp, "when", (goal,)),
        Ask(pick(rng, ("From [which|what] <y> does the <k> to <g> [leave|go]?", "[Which|What] <y> [is it for|do I need for|has the <k> to] <g>?", "Where does the <k> to <g> [leave|start]?"), **slots), gate, "gate", (goal,)),
        Ask(pick(rng, ("Where does the <k> [at|from] <y> <n> go?", "Where goes the <k> from <y> <n>?", "What is the goal of the <k> from <y> <n>?"), **slots), goal, "goal", (f" {gate}",)),
    )  # fmt: skip
    fields = (Field(("destination", "to", "goal", "city"), goal), Field(("day", "date") if by_day else ("time", "departure", "leaves"), day if by_day else time), Field(("gate", "platform", "stop"), gate), Field(("vehicle", "means", "kind"), vehicle))  # fmt: skip
    return Scene(text, asks, fields)


def _value(rng: Random) -> Json:
    """Any value that a record can hold."""
    draw = rng.random()
    if draw < 0.3:
        return rng.randint(0, 9999) if draw < 0.2 else rng.randint(1, 99)
    if draw < 0.42:
        return rng.randint(0, 999) + rng.choice((0.5, 0.25, 0.75, 0.1, 0.9, 0.05, 0.99))
    if draw < 0.5:
        return m.code(rng)
    if draw < 0.6:
        return m.date(rng)
    if draw < 0.75:
        return rng.choice((place(rng), brand(rng), m.title(rng), surname(rng)))
    return m.item(rng)


def record(rng: Random, split: Split, like: Random) -> Scene:
    """Any keys with any values: lines, pairs or sentences."""
    del split
    keys = rng.sample(vocabulary.IDEAS + vocabulary.PEOPLE, rng.randint(2, 4))
    if rng.random() < 0.3:
        keys[0] = odd_word(rng)
    values = [_value(rng) for _ in keys]
    thing, style = m.item(rng), like.randrange(6)
    rows = list(zip(keys, values, strict=True))
    text = {
        0: ", ".join(f"{k}: {v}" for k, v in rows) + ".",
        1: "; ".join(f"{k} = {v}" for k, v in rows) + ".",
        2: join_words([f"{k} {v}" for k, v in rows]) + ".",
        3: f"The {thing} has " + join_words([f"the {k} {v}" for k, v in rows]) + ".",
        4: " ".join(f"The {k} is {v}." for k, v in rows),
        5: "\n".join(f"{k}: {v}" for k, v in rows) + "\n",
    }[style]
    asks = tuple(
        Ask(pick(rng, ("What is the <k>?", "[Which|What] <k> is [given|named]?", "[Give|Tell] me the <k>.", "The <k>, please?", "What does it say for <k>?"), k=k), str(v), "record", (k,))
        for k, v in rows
    )  # fmt: skip
    return Scene(upper_first(text), asks, tuple(Field((k,), v) for k, v in rows))
