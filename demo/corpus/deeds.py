"""Scenes of what people do, are and have: deeds, traits, reasons, lists, orders."""

from __future__ import annotations

from random import Random

from demo.corpus import material as m
from demo.corpus.core import Split, join_words, pick, spin, tidy, upper_first
from demo.corpus.names import place
from demo.corpus.scene import Ask, Field, Scene, several

_DEEDS = tuple(
    tuple(line.split(","))
    for line in """paint,painted,painted;repair,repaired,repaired;sell,sold,sold;find,found,found;lose,lost,lost;hide,hid,hidden
    bring,brought,brought;build,built,built;clean,cleaned,cleaned;draw,drew,drawn;drop,dropped,dropped;forget,forgot,forgotten
    borrow,borrowed,borrowed;break,broke,broken;carry,carried,carried;choose,chose,chosen;collect,collected,collected
    cut,cut,cut;deliver,delivered,delivered;design,designed,designed;discover,discovered,discovered;examine,examined,examined
    feed,fed,fed;fix,fixed,fixed;give away,gave away,given away;inherit,inherited,inherited;invent,invented,invented
    leave behind,left behind,left behind;lift,lifted,lifted;make,made,made;measure,measured,measured;notice,noticed,noticed
    open,opened,opened;order,ordered,ordered;pack,packed,packed;photograph,photographed,photographed;pick up,picked up,picked up
    polish,polished,polished;present,presented,presented;push,pushed,pushed;receive,received,received;rent,rented,rented
    rescue,rescued,rescued;return,returned,returned;see,saw,seen;send,sent,sent;share,shared,shared;steal,stole,stolen
    store,stored,stored;take,took,taken;test,tested,tested;throw,threw,thrown;touch,touched,touched;trade,traded,traded
    wash,washed,washed;weigh,weighed,weighed;win,won,won;wrap,wrapped,wrapped;destroy,destroyed,destroyed;admire,admired,admired
    describe,described,described;donate,donated,donated;film,filmed,filmed;import,imported,imported;move,moved,moved
    pull,pulled,pulled;show,showed,shown;use,used,used;want,wanted,wanted;buy,bought,bought;catch,caught,caught
    hold,held,held;keep,kept,kept;need,needed,needed;prefer,preferred,preferred;recommend,recommended,recommended""".replace("\n    ", ";").split(";")
)  # fmt: skip


def deed(rng: Random, split: Split, like: Random) -> Scene:
    """Somebody did something to a thing, somewhere and some time."""
    base, past, done = like.choice(_DEEDS)
    first, later = base.split(" ")[0], " ".join(base.split(" ")[1:])
    who, thing, spot, time = m.who(rng, split), m.item(rng), m.where(rng), m.when(rng)
    has_spot, has_time = rng.random() < 0.7, rng.random() < 0.7
    tells = (
        "<W> <past> the <x> <at> <t>.", "<T>, <W> <past> the <x> <at>.", "The <x> was <done> by <W> <at> <t>.", "<T>, the <x> was <done> by <W> <at>.",
        "It was <W> who <past> the <x> <at> <t>.", "<W> [was seen|was there] <t> and <past> the <x> <at>." if has_time else "<W> [came in|sat down|arrived] and <past> the <x> <at>.",
        "<W> <past> the <x>." + (" That was <t>." if has_time else "") + (" It happened <at>." if has_spot else ""),
        "<W>, who [likes quiet evenings|never hurries|had little time|lives nearby], <past> the <x> <at> <t>.",
        "[Everybody|Somebody] says that <W> <past> the <x> <at> <t>.", "The <x> that <W> <past> <at> <t> is [old|famous|rather small|quite heavy].",
    )  # fmt: skip
    slots = {"W": who.full, "N": who.name, "x": thing, "past": past, "done": done, "b": base, "at": spot if has_spot else "",
             "t": time if has_time else "", "T": upper_first(time), "f": first, "l": f" {later}" if later else ""}  # fmt: skip
    tell = rng.choice([t for t in tells if has_time or "<T>" not in t])
    shown = {k: v for k, v in slots.items() if v or k == "l"} | {
        k: "" for k in ("at", "t") if not slots[k]
    }
    asks = [
        Ask(pick(rng, ("Who <past> the <x>?", "By whom was the <x> <done>?", "[Which person|Who was it that] <past> the <x>?", "[Name|Tell me] the [person|one] who <past> the <x>.", "The <x> was <done> by [whom|who]?"), **shown), who.proper, "who", (thing,)),
        Ask(pick(rng, ("What did <N> <b>?", "What was <done> by <N>?", "[Which|What] thing did <N> <b>?", "[Tell me|Say|Name] what <N> <past>.", "What is it that <N> <past>?"), **shown), f"the {thing}", "what", (who.name,)),
    ]  # fmt: skip
    if has_spot:
        asks.append(Ask(pick(rng, ("Where did <N> <f> the <x><l>?", "Where was the <x> <done>?", "[In|At] [which|what] place was the <x> <done>?", "[Tell me|I want to know] where <N> <past> the <x>.", "Where did it happen that <N> <past> the <x>?", "Where was <N> when <he> <past> the <x>?"), he=who.he, **shown), spot, "where", (thing,)))  # fmt: skip
    if has_time:
        asks.append(Ask(pick(rng, ("When did <N> <f> the <x><l>?", "When was the <x> <done>?", "[Tell me|I want to know] when <N> <past> the <x>.", "When exactly did <N> <f> the <x><l>?", "When was it that <N> <past> the <x>?"), **shown), time, "when", (thing,)))  # fmt: skip
    text = upper_first(tidy(spin(rng, tell, **shown)))
    fields = [Field(("person", "who", "agent", "name", "by", "subject"), m.bare(who.proper)), Field(("object", "thing", "item", "what", "article"), thing), Field(("action", "verb", "deed"), done if f"was {done}" in text else past)]  # fmt: skip
    if has_spot:
        fields.append(Field(("place", "where", "location", "spot"), m.bare(spot)))
    if has_time:
        fields.append(Field(("time", "when", "moment"), m.bare(time)))
    return Scene(text, tuple(asks), tuple(fields), who.keys)


TRAITS = (
    ("afraid of", "fear"), ("proud of", "pride"), ("tired of", "annoyance"), ("famous for", "fame"), ("fond of", "love"),
    ("interested in", "interest"), ("responsible for", "duty"), ("good with", "talent"), ("jealous of", "envy"), ("sure of", "belief"),
    ("curious about", "question"), ("angry about", "anger"), ("late because of", "reason"), ("busy with", "work"), ("known for", "fame"),
    ("in love with", "love"), ("worried about", "worry"), ("crazy about", "passion"), ("short of", "lack"), ("dependent on", "need"),
    ("bored with", "boredom"), ("satisfied with", "joy"), ("suspicious of", "doubt"), ("sick of", "annoyance"), ("thankful for", "thanks"),
)  # fmt: skip


def trait(rng: Random, split: Split, like: Random) -> Scene:
    """Somebody is afraid of something, or proud of it, and so on."""
    trait, key = like.choice(TRAITS)
    adjective, preposition = trait.rsplit(" ", 1)
    who = m.who(rng, split)
    thing = several(rng) if rng.random() < 0.5 else f"the {m.item(rng)}"
    slots = {"W": who.full, "N": who.name, "y": thing, "a": adjective, "p": preposition, "P": upper_first(preposition)}  # fmt: skip
    text = pick(rng, ("<W> is <a> <p> <y>.", "<W> has [always|long] been <a> <p> <y>.", "[Everyone knows|We all know|People say] that <W> is <a> <p> <y>.", "<W> is <a> <p> <y>, [of all things|and that since last year|so they say].", "What <W> is <a> <p> is <y>."), **slots)  # fmt: skip
    asks = (
        Ask(pick(rng, ("What is <N> <a> <p>?", "<P> what is <N> <a>?", "[Tell me|Say|Do you know] what <N> is <a> <p>[.|?]", "[Which|What] thing is <N> <a> <p>?", "<N> is <a> <p> [what|which thing]?"), **slots), thing, "what", (who.name,)),
        Ask(pick(rng, ("Who is <a> <p> <y>?", "[Which|What] person is <a> <p> <y>?", "[Name|Tell me] the one who is <a> <p> <y>.", "Who of them is <a> <p> <y>?"), **slots), who.proper, "who", (thing,)),
    )  # fmt: skip
    fields = (Field(("name", "person", "who"), m.bare(who.proper)), Field((key, adjective.split(" ")[0], "about"), thing))  # fmt: skip
    return Scene(upper_first(text), asks, fields, who.keys)


_REASONS = ("the <x> was broken", "it rained all day", "<he> had no <x>", "the <x> came too late", "<he> wanted to see the <x>", "there was a <x> in the way",
            "<his> <x> was lost", "the road was closed", "<he> felt ill", "<he> had promised it", "the <x> smelled bad", "nobody had the <x>")  # fmt: skip
_EFFECTS = (("stayed at home", "stay at home"), ("missed the bus", "miss the bus"), ("left early", "leave early"), ("went back", "go back"), ("called a friend", "call a friend"),
            ("laughed aloud", "laugh aloud"), ("bought a new one", "buy a new one"), ("took the stairs", "take the stairs"), ("was late", "come late"), ("closed the shop", "close the shop"))  # fmt: skip


def reason(rng: Random, split: Split, like: Random) -> Scene:
    """Somebody did something for a reason."""
    who = m.who(rng, split)
    past, base = like.choice(_EFFECTS)
    reason = pick(rng, _REASONS, x=m.noun(rng), he=who.he, his=who.his)
    slots = {
        "W": who.full,
        "N": who.name,
        "p": past,
        "b": base,
        "r": reason,
        "R": upper_first(reason),
    }
    text = pick(rng, ("<W> <p> because <r>.", "Because <r>, <W> <p>.", "<W> <p>, for <r>.", "<R>, so <W> <p>.", "<W> <p>. The reason: <r>."), **slots)  # fmt: skip
    asks = (
        Ask(pick(rng, ("Why did <N> <b>?", "[For what|What was the] reason [did|why did] <N> <b>?", "How come that <N> <p>?", "[Tell me|Explain] why <N> <p>."), **slots), reason, "why", (who.name,)),
        Ask(pick(rng, ("Who <p>?", "[Which|What] person <p>?"), **slots), who.proper, "who", (past,)),
    )  # fmt: skip
    return Scene(upper_first(text), asks, (Field(("person", "name", "who"), m.bare(who.proper)), Field(("reason", "why", "because"), reason)), who.keys)  # fmt: skip


def needs(rng: Random, split: Split, like: Random) -> Scene:
    """A list of things in a sentence."""
    who = m.who(rng, split)
    verb, base, name = like.choice((("needs", "need", "needs"), ("speaks about", "speak about", "topics"), ("sells", "sell", "goods"), ("likes", "like", "likes"), ("took along", "take along", "luggage"), ("mixes", "mix", "parts"), ("studies", "study", "subjects"), ("visited", "visit", "visited")))  # fmt: skip
    things = [several(rng) if name != "visited" else place(rng) for _ in range(rng.randint(2, 4))]
    said = spin(rng, "<W> <v> <l>.", W=who.full, v=verb, l=join_words(things))
    ask = pick(rng, ("What [does|did] <N> <b>?", "[Which|What] things are named with <N>?", "[Tell me|List] what <N> <v>."), N=who.name, b=base, v=verb)  # fmt: skip
    fields = (
        Field(("name", "person"), m.bare(who.proper)),
        Field((name, "list", "things"), things),
    )
    return Scene(upper_first(said), (Ask(ask, join_words(things), "list", (who.name,)),), fields, who.keys)  # fmt: skip


def order(rng: Random, split: Split, like: Random) -> Scene:
    """Somebody gets several things in numbers."""
    who = m.who(rng, split)
    verb, base = like.choice((("ordered", "order"), ("bought", "buy"), ("needs", "need"), ("packed", "pack"), ("counted", "count"), ("sold", "sell"), ("brought", "bring")))  # fmt: skip
    pairs = [(rng.randint(2, 60), m.noun(rng) + "s") for _ in range(rng.randint(2, 4))]
    listed = join_words([f"{n} {x}" for n, x in pairs])
    text = pick(rng, ("<W> <v> <l>.", "<W> <v> [the following|these things]: <l>.", "[Yesterday|In the shop|As always], <W> <v> <l>.", "The list of <W>: <l>. <He> <v> all of it."), W=who.full, v=verb, l=listed, He=who.he.capitalize())  # fmt: skip
    asks = [Ask(pick(rng, ("How many <x> [did|does] <N> <b>?", "How many <x> are [there|on the list]?", "What is the number of <x>?"), x=x, N=who.name, b=base), str(n), "n", (x,)) for n, x in pairs]  # fmt: skip
    asks.append(Ask(f"Who {verb} the {pairs[0][1]}?", who.proper, "who", (pairs[0][1],)))
    rows = [{"item": x, "quantity": n} for n, x in pairs]
    fields = (
        Field(("customer", "name", "person"), m.bare(who.proper)),
        Field(("items", "lines", "order"), rows),
    )
    if rng.random() < 0.5:
        fields = (fields[0], Field(("items", "things", "list"), [x for _, x in pairs]))
    return Scene(upper_first(text), tuple(asks), fields, who.keys)
