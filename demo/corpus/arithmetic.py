"""Sums, differences, products and exact quotients of numbers of up to two digits.

Products of two two-digit numbers show their two partial products, so that each step is one the
model can learn. The split key is the unordered operand pair, whatever the operation. Products with
a one-digit factor are the multiplication table: they are training matter only and never scored.
"""

from __future__ import annotations

from random import Random

from demo.corpus.core import Split, Turn, as_typed, fits, pick, spin, with_chatter
from demo.corpus.names import person
from demo.corpus.words import FOODS, THINGS, plural

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SIGNS = {"add": ("+",), "sub": ("-", "−"), "mul": ("*", "×", "x"), "div": ("/", "÷")}
_ASKS: dict[str, tuple[str, ...]] = {
    "add": (
        "[What is|What's|Calculate|Compute|Work out|Find|Tell me|How much is] <a> plus <b>[?|.]",
        "[Add|Sum] <a> and <b>.",
        "[What is|Find|Give me|Tell me] the [sum|total] of <a> and <b>[?|.]",
        "[If I add|When you add|Adding] <b> to <a>, what [do I get|is the result|comes out]?",
        "What do [you|I|we] get [if|when] [you|I|we] add <a> and <b>?",
        "[Can|Could] you add <a> and <b> for me?",
        "How much [are|do] <a> and <b> [together|make|add up to]?",
        "<a> plus <b>[|, please|, what is it|, how much is that|: how much][?|.|]",
        "[The sum of|Together,] <a> and <b> [is|are] [what|how much]?",
        "[Increase|Raise] <a> by <b>.",
        "<b> more than <a> is [what|how much|which number]?",
        "I have <a>, then <b> [more|extra|come on top]. [What do I have|How many is it|What is the sum]?",
        "[What|Which number] do I get [when I go|counting] <b> [on|further|upwards] from <a>?",
    ),
    "sub": (
        "[What is|What's|Calculate|Compute|Work out|Find|Tell me|How much is] <a> minus <b>[?|.]",
        "[Subtract|Take] <b> from <a>.",
        "[What is|Find|Tell me] the difference [between|of] <a> and <b>[?|.]",
        "[If I take|When I take] <b> away from <a>, what [is left|remains|do I get]?",
        "What is left [of <a> when I take away <b>|when <b> is taken from <a>]?",
        "How much is <a> less <b>?",
        "Take <a> and [subtract|remove] <b>.",
        "<a> minus <b>[|, please|, what is it|, how much is that|: how much][?|.|]",
        "[Reduce|Lower] <a> by <b>.",
        "<b> less than <a> is [what|how much|which number]?",
        "I have <a> and <b> [go|get lost|are taken]. [What stays|What remains|How many stay]?",
        "From <a>, [remove|take off|drop] <b>.",
    ),
    "mul": (
        "[What is|What's|Calculate|Compute|Work out|Find|Tell me|How much is] <a> times <b>[?|.]",
        "Multiply <a> [by|and|with] <b>.",
        "[What is|Find|Tell me] the product of <a> and <b>[?|.]",
        "What is <a> multiplied by <b>?",
        "What do [you|I] get [if|when] [you|I] multiply <a> by <b>?",
        "How much [is|are] <a> [lots|groups] of <b>?",
        "<a> times <b>[|, please|, what is it|, how much is that|: how much][?|.|]",
        "<a> multiplied [by|with] <b> [is|makes|gives] [what|how much]?",
        "[The product of|Multiplying] <a> and <b> [is|gives] [what|how much]?",
        "[Do|Run] the multiplication of <a> and <b>.",
    ),
    "div": (
        "[What is|What's|Calculate|Compute|Work out|Find|Tell me|How much is] <a> divided by <b>[?|.]",
        "Divide <a> by <b>.",
        "How many times does <b> go into <a>?",
        "Split <a> into <b> equal parts. How big is each?",
    ),
}
_STORIES: dict[str, tuple[str, ...]] = {
    "add": (
        "My [bag|box|garden|shelf] has <a> <things>[.| and] [I put in|I add|we bring] <b> [more|others|new ones]. [How many are in it|What is the sum|How many <things> now]?",
        "<name> [reads|walks|cooks|saves] <a> [hours|pages|miles|coins] in [May|one week] and <b> in [June|the next]. [How much|How many] [together|is it in all]?",
        "<name> has <a> <things> and [buys|finds|gets|is given] <b> more. How many <things> does <name> have [now|in all]?",
        "There are <a> <things> [in one box|on one table] and <b> in [another|a second one]. How many are there [altogether|in total]?",
        "<name> [picks|collects] <a> <things> [on Monday|in the morning] and <b> [on Tuesday|in the evening]. How many is that [in all|together]?",
    ),
    "sub": (
        "I had <a> <things>, [but|then] <b> [broke|were stolen|went away|were eaten]. How many [do I have now|stay|are still there]?",
        "<name> owns <a> coins and [pays|spends] <b>. [How many coins|What|How much] [remain|remains|is left]?",
        "<name> has <a> <things> and [gives away|loses|sells|eats] <b>[| of them]. How many [are left|remain|does <name> have left]?",
        "There are <a> <things> [in a box|in the shop]. <b> are [taken out|sold]. How many [are left|remain]?",
    ),
    "mul": (
        "There are <a> boxes with <b> <things> each. How many <things> are there [in all|in total|altogether]?",
        "<name> buys <a> bags of <b> <things>. How many <things> [is that|does <name> have]?",
        "<a> [shelves|tables|bags|boxes|trucks|teams|pages] [hold|carry|have] <b> <things> each. How many <things> [is that|are there|do they have]?",
        "A [room|hall|house|ship|field|page] has <a> [shelves|lines|corners|tables|floors] [with|and there are] <b> <things> [on|in|at] [each|every one]. [How many <things> is that|Count all <things>|How many <things> in total]?",
        "Every [box|bag|day|week|table] [has|brings|holds] <b> <things>. How many are <a> of them [together|in all]?",
        "One <thing> costs <b> coins. How much do <a> <things> cost?",
    ),
    "div": (
        "<name> shares <a> <things> equally among <b> friends. How many does each [friend|one] get?",
        "<a> <things> are packed into <b> boxes, the same number in each. How many are in one box?",
    ),
}


def number_word(value: int) -> str:
    """The English word of 0 to 99."""
    if value < 20:
        return _UNITS[value]
    ten, unit = divmod(value, 10)
    return _TENS[ten] + (f"-{_UNITS[unit]}" if unit else "")


def pair_key(a: int, b: int) -> str:
    """The split key of an unordered operand pair."""
    return f"pair:{min(a, b)},{max(a, b)}"


def operands(rng: Random, split: Split, op: str) -> tuple[int, int]:
    """A pair for the operation on the wanted side; held-out pairs have two digits each."""
    while True:
        low = 10 if split is Split.HELD or rng.random() < 0.7 else 0
        a, b = rng.randint(low, 99), rng.randint(low, 99)
        if op == "mul" and split is Split.TRAIN and rng.random() < 0.35:
            b = rng.randint(0, 12)
        if op == "sub" and a < b and rng.random() < 0.8:
            a, b = b, a
        if op == "div":
            b = rng.randint(1, 12)
            a = b * rng.randint(1, 99 // b)
        elif op != "mul" and split is Split.TRAIN and rng.random() < 0.15:
            a, b = rng.randint(0, 999), rng.randint(0, 999)
            a, b = (max(a, b), min(a, b)) if op == "sub" else (a, b)
        if fits(pair_key(a, b), split):
            return a, b


def solve(op: str, a: int, b: int) -> tuple[int, str, str]:
    """(result, worked line, reasoning). Two-digit products are split at the tens of `b`."""
    if op == "add":
        return a + b, f"{a} + {b} = {a + b}", f"I add {a} and {b}. That gives {a + b}."
    if op == "sub":
        return a - b, f"{a} - {b} = {a - b}", f"I take {b} from {a}. That leaves {a - b}."
    if op == "div":
        return (
            a // b,
            f"{a} / {b} = {a // b}",
            f"{b} times {a // b} is {a}. So the answer is {a // b}.",
        )
    ten, unit = b - b % 10, b % 10
    if min(a, b) < 10 or unit == 0:
        return a * b, f"{a} * {b} = {a * b}", f"I multiply {a} by {b}. That is {a * b}."
    work = f"{a} * {b} = {a * ten} + {a * unit} = {a * b}"
    return (
        a * b,
        work,
        f"{a} times {ten} is {a * ten}. {a} times {unit} is {a * unit}. Together that is {a * b}.",
    )


def _written(rng: Random, op: str, a: int, b: int, name: str) -> str:
    """The question: a formula, a phrase, number words or a small story."""
    draw = rng.random()
    sign = rng.choice(_SIGNS[op])
    if draw < 0.3:
        space = "" if rng.random() < 0.25 else " "
        ask = "[What is <f>?|What's <f>?|<f>|<f> =|<f> = ?|Calculate <f>.|Compute <f>.|Solve <f>.|Work out <f>.|How much is <f>?|Evaluate <f>.|Tell me <f>.|<f>?|Can you [work out|solve|do] <f>?|I need <f>.]"
        return spin(rng, ask, f=f"{a}{space}{sign}{space}{b}")
    if draw < 0.8 or max(a, b) > 99:
        words = rng.random() < 0.22 and max(a, b) <= 99
        return pick(
            rng, _ASKS[op], a=number_word(a) if words else a, b=number_word(b) if words else b
        )
    thing = rng.choice(FOODS + THINGS)
    return pick(rng, _STORIES[op], a=a, b=b, name=name, things=plural(thing), thing=thing)


def make(rng: Random, split: Split) -> Turn:
    """One arithmetic question with its worked answer."""
    weights = (4, 4, 5, 1) if split is Split.TRAIN else (1, 1, 1, 0)
    op = rng.choices(("add", "sub", "mul", "div"), weights)[0]
    a, b = operands(rng, split, op)
    name = person(rng, split)
    result, work, think = solve(op, a, b)
    question = with_chatter(rng, as_typed(rng, _written(rng, op, a, b, name)))
    keys = (pair_key(a, b), *((f"name:{name}",) if name in question else ()))
    short = f"{work}." if op == "mul" else f"{result}."
    expect = {"kind": "number", "value": result}
    return Turn(
        user=question,
        reply=f"{work}.",
        short=short,
        value=result,
        expect=expect,
        think=think,
        keys=keys,
    )
