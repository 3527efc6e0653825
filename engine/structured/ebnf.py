"""Checks of GBNF grammars (`root ::= "a" | other`) that a compiler would not make.

A rule must exist, must derive some finite text, and must not begin with itself. Groups become
rules of their own, so that every check is one pass over a flat table: time is linear in the text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.structured.refusal import Refusal

ROOT = "root"
MAX_NESTING = 100
_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\\n])*")
    |(?P<class>\[(?:\\.|[^\]\\\n])*\])
    |(?P<define>::=)
    |(?P<name>[A-Za-z_][A-Za-z0-9_.\-]*)
    |(?P<times>\{\s*\d{1,9}\s*(?:,\s*\d{0,9}\s*)?\}|[*+?])
    |(?P<mark>[()|])""",
    re.VERBOSE | re.ASCII,  # `int` takes no digits or blanks but these
)
_DEFINES = re.compile(r"^[ \t]*[A-Za-z_][A-Za-z0-9_.\-]*\s*::=", re.MULTILINE)
_PRINTED_BOUND = re.compile(r",\s*-1\}")  # no upper bound
_PRINTED_REGEX = re.compile(r'\bRegex\("(?:\\.|[^"\\])*"\)')
_TERMINAL = -1


class _Unreadable(Refusal):
    """The text is no GBNF."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


@dataclass(slots=True)
class _Item:
    """One element of an alternative. Rules are numbers; `_TERMINAL` stands for some character."""

    rule: int
    optional: bool


Alternative = list[_Item]


@dataclass(slots=True)
class _Table:
    """All rules as lists of alternatives; `names` has those that the text defines or uses."""

    rules: list[list[Alternative]] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    defined: set[int] = field(default_factory=set)

    def named(self, name: str) -> int:
        if name not in self.names:
            self.names[name] = self.add()
        return self.names[name]

    def add(self) -> int:
        self.rules.append([])
        return len(self.rules) - 1

    def label(self, rule: int) -> str:
        return next((name for name, number in self.names.items() if number == rule), "a group")


def is_ebnf(text: str) -> bool:
    """Whether the text defines rules with `::=`; else it is taken for Lark."""
    return _DEFINES.search(text) is not None


def check_printed(text: str) -> None:
    """The same for a grammar as the compiler prints it, where that is GBNF: Lark, translated."""
    plain = _PRINTED_REGEX.sub('"x"', _PRINTED_BOUND.sub(",}", text))
    try:
        check(plain)
    except _Unreadable:
        return


def check(text: str) -> None:
    """Raises `Refusal` naming the rule or the line."""
    table = _read(list(_tokens(text)))
    if ROOT not in table.names or table.names[ROOT] not in table.defined:
        raise Refusal(f"has no rule {ROOT!r}: it names what the whole answer is")
    for name, rule in table.names.items():
        if rule not in table.defined:
            raise Refusal(f"uses the rule {name!r}, which it does not define")
    productive = _closed(table, nullable=False)
    for rule in range(len(table.rules)):
        if rule not in productive:
            raise Refusal(f"has a rule that never comes to an end: {table.label(rule)!r}")
    _check_left_recursion(table, _closed(table, nullable=True))


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _Unreadable(f"cannot be read in line {line}, at {text[at : at + 12]!r}")
        kind, word = str(found.lastgroup), found.group()
        if kind != "blank":
            yield _Token(kind, word, line)
        line += word.count("\n")
        at = found.end()


def _read(tokens: list[_Token]) -> _Table:
    table, at = _Table(), 0
    while at < len(tokens):
        if not _defines(tokens, at):
            raise Refusal(f"cannot be read in line {tokens[at].line}, at {tokens[at].text[:12]!r}")
        rule = table.named(tokens[at].text)
        if rule in table.defined:
            raise Refusal(f"defines the rule {tokens[at].text!r} twice")
        table.defined.add(rule)
        end = at + 2
        while end < len(tokens) and not _defines(tokens, end):
            end += 1
        _read_body(table, rule, tokens[at + 2 : end], tokens[at].line)
        at = end
    return table


def _defines(tokens: list[_Token], at: int) -> bool:
    return tokens[at].kind == "name" and at + 1 < len(tokens) and tokens[at + 1].kind == "define"


def _read_body(table: _Table, rule: int, tokens: list[_Token], line: int) -> None:
    """Alternatives of one rule; a group in it becomes a rule, kept on a stack while it is open."""
    open_rules, current = [rule], [Alternative()]
    for token in tokens:
        line = token.line
        match token.kind, token.text:
            case "mark", "(":
                if len(open_rules) > MAX_NESTING:
                    raise Refusal(f"nests more than {MAX_NESTING} groups in line {line}")
                group = table.add()
                table.defined.add(group)
                current[-1].append(_Item(group, optional=False))
                open_rules.append(group)
                current.append([])
            case "mark", ")":
                if len(open_rules) == 1:
                    raise Refusal(f"closes a group in line {line} that was not opened")
                _end(table, open_rules.pop(), current.pop(), line)
            case "mark", _:
                _end(table, open_rules[-1], current[-1], line)
                current[-1] = []
            case "times", times:
                if not current[-1]:
                    raise Refusal(f"repeats nothing in line {line}: {times!r} has to follow a part")
                current[-1][-1].optional |= _may_be_none(times, line)
            case "name", name:
                current[-1].append(_Item(table.named(name), optional=False))
            case "text" | "class" as kind, word:
                if kind == "class" and word in ("[]", "[^]"):
                    raise Refusal(f"has an empty character class in line {line}")
                current[-1].append(_Item(_TERMINAL, optional=word == '""'))
            case _:
                raise Refusal(f"cannot be read in line {line}, at {token.text!r}")
    if len(open_rules) > 1:
        raise Refusal(f"does not close a group that begins before line {line + 1}")
    _end(table, rule, current[-1], line)


def _end(table: _Table, rule: int, alternative: Alternative, line: int) -> None:
    if not alternative:
        raise Refusal(f'has an empty alternative in line {line}; write "" for no text')
    table.rules[rule].append(alternative)


def _may_be_none(times: str, line: int) -> bool:
    if times in "*+?":
        return times != "+"
    low, _, high = times.strip("{}").partition(",")
    if high.strip() and int(high) < int(low):
        raise Refusal(f"repeats {times} in line {line}: the bounds are the wrong way round")
    return int(low) == 0


def _closed(table: _Table, *, nullable: bool) -> set[int]:
    """Rules that derive a finite text (or, with `nullable`, the empty one)."""
    found: set[int] = set()
    waits: dict[int, list[tuple[int, int]]] = defaultdict(list)  # rule → (owner, alternative)
    missing: dict[tuple[int, int], int] = {}
    ready: list[int] = []
    for rule, alternatives in enumerate(table.rules):
        for i, alternative in enumerate(alternatives):
            needed = [item.rule for item in alternative if not item.optional]
            if nullable and _TERMINAL in needed:
                continue
            needed = [other for other in needed if other != _TERMINAL]
            missing[rule, i] = len(needed)
            for other in needed:
                waits[other].append((rule, i))
            if not needed:
                ready.append(rule)
    while ready:
        if (rule := ready.pop()) in found:
            continue
        found.add(rule)
        for waiting in waits[rule]:
            missing[waiting] -= 1
            if missing[waiting] == 0:
                ready.append(waiting[0])
    return found


def _check_left_recursion(table: _Table, nullable: set[int]) -> None:
    """Depth-first over "may begin with", without recursion of our own."""
    begins = [sorted(_begins(alternatives, nullable)) for alternatives in table.rules]
    state = [0] * len(begins)  # 1: on the path, 2: done
    for start in range(len(begins)):
        path = [(start, iter(begins[start]))] if not state[start] else []
        state[start] = state[start] or 1
        while path:
            rule, rest = path[-1]
            if (following := next(rest, None)) is None:
                state[rule] = 2
                path.pop()
            elif state[following] == 1:
                cycle = [r for r, _ in path][[r for r, _ in path].index(following) :]
                name = next((table.label(r) for r in cycle if r in table.names.values()), ROOT)
                raise Refusal(f"is left-recursive: the rule {name!r} may begin with itself")
            elif not state[following]:
                state[following] = 1
                path.append((following, iter(begins[following])))


def _begins(alternatives: list[Alternative], nullable: set[int]) -> set[int]:
    found: set[int] = set()
    for alternative in alternatives:
        for item in alternative:
            if item.rule != _TERMINAL:
                found.add(item.rule)
            if not item.optional and item.rule not in nullable:
                break
    return found
