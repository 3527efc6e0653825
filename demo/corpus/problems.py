"""Sums told as stories: the operation has to be read out of what happens."""

from __future__ import annotations

from random import Random

from demo.corpus import material as m
from demo.corpus.arithmetic import number_word, operands, pair_key, solve
from demo.corpus.core import Split, Turn, as_typed, fits, spin, with_chatter
from demo.corpus.names import place
from demo.corpus.words import plural

# <a> and <b> the operands, <N> <O> two people, <xs> a plural, <x> its singular, <at> a place, <c> a town
_STORIES: dict[str, tuple[str, ...]] = {
    "add": (
        "<N> [gathers|plants|photographs|paints|sews] <a> <xs> [before lunch|in the first week|on Monday] and <b> [after lunch|in the second week|on Friday]. [How many <xs> is that|What is the total|How many does <he> have in the end]?",
        "[At first|Early on|Yesterday] there were <a> <xs> <at>. [Then|Later|Today] <b> [more|further ones|others] [came|were brought|arrived|joined them]. How many <xs> are there [now|today|in the end]?",
        "<N> is <a> years old. How old will <he> be [in <b> years|after <b> more birthdays|when <b> years have passed]?",
        "<O> is <b> years older than <N>, who is <a>. How old is <O>?",
        "A [rope|road|fence|tunnel|ribbon] of <a> meters [is made|gets] <b> meters longer. How long is it then?",
        "[The price of a <x>|A <x> at <a> euros] [was <a> euros and rose|goes up] by <b> euros. What does it cost [now|after that]?",
        "<N> owns <a> <xs>, <O> owns <b>. How many do [they|the two|both of them] own [together|in all|between them]?",
        "[In the morning|At dawn] it was <a> degrees. It got <b> degrees warmer. [How warm is it now|What does the thermometer say]?",
        "The [bus|boat|plane|lift|tram] carries <a> people. At <c>, <b> more [get in|climb in|come on board|step in]. How many [people are inside|does it carry now]?",
        "<N> needs <a> minutes for the way [out|there] and <b> for the way [back|home]. How many minutes is <he> [on the road|under way] [in all|altogether]?",
        "[One|The first] [team|class|choir|village] has <a> members and [the other|the second] <b>. How many members do both have?",
        "After <he> [lost|gave away|sold|ate] <b> <xs>, <N> still has <a>. How many [were there|did <he> have] [before|at the start]?",
        "<a> [guests|dancers|voters|children] are [inside|seated] and <b> wait [outside|at the door]. How many [are there|came] in all?",
        "A [book|film|trip|recipe] costs <a> euros and the [bag|cup|map|stamp] <b> euros. What do I pay for both?",
        "<N> scored <a> points in [the first|one] [round|game] and <b> in [the next|another]. What is <his> [score|total|result]?",
        "[Out of|In] a [shed|cellar|cupboard] <N> carries <a> <xs>, [and then|later] <b> further <xs>. How many <xs> has <he> carried?",
    ),
    "sub": (
        "<N> is <a> years old and <O> is <b>. [By how many years is <N> older|How much older is <N>|What is the difference of their ages|How much younger is <O>]?",
        "[The bus|A boat|The lift|A plane] has <a> people in it. At <c>, <b> of them [get out|step out|leave]. How many [are left|stay inside|ride on]?",
        "There were <a> <xs> <at>, but <b> [rolled away|were taken|broke|rotted|flew off|were given away]. How many [are there still|stay|are left over]?",
        "<N> wants to [read|sell|plant|collect|carry] <a> <xs> and has done <b> so far. How many [are still to do|are missing|more must <he> do|remain]?",
        "A [rope|plank|ribbon|pipe] is <a> meters long. <N> cuts off <b> meters. [How long is the rest|What is left|How many meters remain]?",
        "<N> has <a> euros and pays <b> for a <x>. How [much|many euros] [does <he> have after that|is left|stays in <his> pocket]?",
        "<N> owns <a> <xs>, <b> more than <O>. How many <xs> does <O> own?",
        "<O> has <b> <xs> fewer than <N>, who has <a>. How many has <O>?",
        "It was <a> degrees and [it got|became] <b> degrees colder. How [warm|many degrees] is it now?",
        "A [tank|barrel|pot|bucket] holds <a> liters, and <b> liters [run out|are used|drip away]. How many liters [are in it now|are left]?",
        "From <c> it is <a> miles to the [coast|border|capital]. <N> has [driven|walked|ridden] <b> of them. How [far|many miles] [is it still|are to go|remain]?",
        "Of <a> [pupils|guests|workers|players], <b> are [ill|late|absent|asleep]. How many are [well|there|on time|awake]?",
        "A <x> cost <a> euros. Now it is <b> euros cheaper. What is the [new price|price now]?",
        "<N> has [climbed|done|counted] <b> of <a> steps. How many [are ahead of <him>|are missing|does <he> have to do]?",
        "Together <N> and <O> have <a> <xs>. <b> of them are <O>'s. How many [are|belong to] <N>['s|]?",
        "How many <xs> must <N> [buy|find|add] to have <a>, [if|when] <he> has <b> [now|already]?",
        "The [film|lesson|concert] lasts <a> minutes, and <b> minutes are over. How many minutes [are to come|does it go on]?",
    ),
    "mul": (
        "<N> [sews|paints|writes|sells|washes|eats|draws] <a> <xs> [a day|each day|per day]. How many [<xs> |]is that [in|after] <b> days?",
        "[A|Each] [crate|sack|drawer|basket|album|tray] [holds|takes|contains] <a> <xs>. How many <xs> [fit into|are in] <b> of them?",
        "<N> saves <a> euros [a|every|each] [week|month]. How [much|many euros] does <he> have after <b> [weeks|months]?",
        "A <x> costs <a> euros. [What do <b> <xs> cost|What must I pay for <b> <xs>|How much is it for <b> of them]?",
        "[In the hall|On the field|At the show] there are <b> rows [of|with] <a> [seats|chairs|plants|flags] [each|in each]. How many are [there|that] [in all|altogether]?",
        "<a> [pupils|teams|guests|cooks|children] [each get|get each|receive] <b> <xs>. How many <xs> are [needed|given out|used]?",
        "A [robot|worker|printer|baker] makes <a> <xs> [an hour|every hour|in one hour]. How many in <b> hours?",
        "<N> [walks|rides|runs|rows] <a> miles a day for <b> days. How many miles [is that|does <he> go|are these]?",
        "One [page|sheet|wall|card] has room for <a> <xs>. How many <xs> have room on <b>?",
        "<N> has <a> <xs>, and <O> has <b> times as many. How many has <O>?",
        "[A book|The letter|The list] has <b> pages with <a> lines on each. How many lines is that?",
        "Every [hour|minute|morning|evening], <a> <xs> [arrive|come in|are sold|fall down]. How many are that after <b> times?",
        "<b> [friends|sisters|neighbors|players] bring <a> <xs> each. [What is the total|How many <xs> are brought|How many do they bring in all]?",
        "A field is <a> meters long and <b> meters wide. [What is its area|How many square meters is it|How large is it]?",
        "The [shop|cook|school|zoo] uses <a> <xs> [daily|a day|every day]. How many does it [use|need] [for|in] <b> days?",
    ),
    "div": (
        "<a> <xs> are [shared|split|divided] [fairly|evenly] [among|between] <b> [friends|boxes|teams|plates]. How many [are that for each|does each get|are in each]?",
        "<N> has <a> <xs> and puts <b> in [each|every] bag. How many bags [does <he> fill|are there]?",
        "<b> <xs> cost <a> euros. What does one [cost|of them cost]?",
        "<N> reads <b> pages a day. How many days does <he> need for <a> pages?",
        "A [rope|plank|ribbon] of <a> meters is cut into <b> equal [parts|pieces]. How long is [one|each]?",
    ),
}  # fmt: skip
# Two steps: (text, first operation, second operation); <d> is the second operand of the second step.
_CHAINS: tuple[tuple[str, str, str], ...] = (
    ("<N> has <a> <xs>, [gets|finds|buys] <b> more and [gives|sells|loses] <d>[ to <O>|]. How many [are left|does <he> have in the end]?", "add", "sub"),
    ("There are <a> [people|children|guests] [in the bus|in the hall|on the boat]. <b> [leave|get out|go] and <d> [come in|get in|arrive]. How many are [there|inside] now?", "sub", "add"),
    ("<N> had <a> euros, spent <b> and then earned <d>. How much does <he> have?", "sub", "add"),
    ("<N> collects <a> <xs>, <O> <b> and a friend <d>. How many [are that together|do the three have]?", "add", "add"),
    ("From <a> <xs>, <N> eats <b> and <O> <d>. How many remain?", "sub", "sub"),
    ("<N> buys <b> boxes of <a> <xs> and finds <d> more. How many <xs> [is that|does <he> have]?", "mul", "add"),
)  # fmt: skip


def _chain(rng: Random, split: Split) -> tuple[str, list[tuple[str, int, int]]]:
    """A story of two steps whose two operand pairs lie on the wanted side."""
    # A held-out product would bring a pair of three digits, which worked products hold by chance.
    text, first, second = rng.choice(_CHAINS[:-1] if split is Split.HELD else _CHAINS)
    while True:
        a, b = operands(rng, split, first)
        result = solve(first, a, b)[0]
        d = rng.randint(10, 99)
        if result > 99 and split is Split.HELD:
            continue
        good = result >= 0 and (second != "sub" or d <= result) and fits(pair_key(result, d), split)
        if good and (first != "sub" or a >= b):
            return text.replace("<d>", str(d)), [(first, a, b), (second, result, d)]


def make(rng: Random, split: Split) -> Turn:
    """A story with its sum worked out; one in ten has two steps."""
    if rng.random() < 0.1:
        text, steps = _chain(rng, split)
    else:
        op = rng.choices(("add", "sub", "mul", "div"), (4, 4, 4, 1) if split is Split.TRAIN else (1, 1, 1, 0))[0]  # fmt: skip
        a, b = operands(rng, split, op)
        while (op == "sub" and a < b) or min(a, b) < 2:
            a, b = operands(rng, split, op)
        text, steps = rng.choice(_STORIES[op]), [(op, a, b)]
    one, two = m.who(rng, split), m.who(rng, split)
    if one.name == two.name:
        return make(rng, split)
    _, a, b = steps[0]
    worded = rng.random() < 0.12 and max(a, b) < 100
    x = rng.choice(m.OBJECTS + m.FOODS + m.ANIMALS)
    slots = {"a": number_word(a) if worded else a, "b": number_word(b) if worded else b, "N": one.name, "O": two.name, "he": one.he,
             "his": one.his, "him": "him" if one.he == "he" else "her", "x": x, "xs": plural(x), "at": m.where(rng), "c": place(rng)}  # fmt: skip
    question = with_chatter(rng, as_typed(rng, spin(rng, text, **slots)))
    solved = [solve(*step) for step in steps]
    work = ", ".join(line for _, line, _ in solved)
    result = solved[-1][0]
    keys = tuple(pair_key(a, b) for _, a, b in steps)
    keys += tuple(k for who in (one, two) if who.name in question for k in who.keys)
    return Turn(user=question, reply=f"{work}.", short=f"{work}.", value=result, keys=keys,
                expect={"kind": "number", "value": result}, think=" ".join(t for _, _, t in solved))  # fmt: skip
