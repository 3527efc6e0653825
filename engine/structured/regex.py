"""What we refuse in a regular expression before anybody compiles it.

The dialect is ECMAScript's without look-around, back-references, word borders, flags and Unicode
classes. Anchors may stand at the two ends only: the whole answer must match anyway.
"""

from __future__ import annotations

from engine.structured.refusal import Refusal

MAX_GROUPS = 100  # nested
_ESCAPES = frozenset("dDwWsSfnrtv0xuc")
_CONTROL = tuple("nrtfv0c")
_ADVICE = {
    "?=": "look-ahead",
    "?!": "look-ahead",
    "?<=": "look-behind",
    "?<!": "look-behind",
    "?P": "Python's named groups",
    "?>": "atomic groups",
    "?#": "comments",
    "?(": "conditions",
}


def check(pattern: str, *, quoted: bool = False) -> None:
    """Raises `Refusal` for what would be ignored or misread. One pass, no backtracking.

    `quoted`: the text stands between JSON's quotes, where some characters cannot stand plainly.
    """
    if not pattern:
        raise Refusal("is empty: give a regular expression")
    depth, at, in_class = 0, 0, False
    while at < len(pattern):
        char = pattern[at]
        if quoted and not in_class and _needs_escape(pattern, at):
            raise Refusal(f"has a quote or control character in a pattern (at {at})")
        if char == "\\":
            _check_escape(pattern, at)
            at += 2
            continue
        if in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
            at += pattern.startswith("[]", at) or pattern.startswith("[^]", at)
        elif char == "(":
            depth += 1
            _check_group(pattern, at)
        elif char == ")":
            depth -= 1
        elif char == "^" and not (at == 0 or (depth == 0 and pattern[at - 1] == "|")):
            raise Refusal(f"has '^' in the middle (at {at}): the whole answer must match anyway")
        elif char == "$" and not (depth == 0 and pattern[at + 1 : at + 2] in ("", "|")):
            raise Refusal(f"has '$' in the middle (at {at}): the whole answer must match anyway")
        if depth < 0 or depth > MAX_GROUPS:
            raise Refusal(
                f"closes a group at {at} that was not opened"
                if depth < 0
                else f"nests more than {MAX_GROUPS} groups"
            )
        at += 1
    if in_class or depth:
        raise Refusal("ends inside a " + ("character class" if in_class else "group"))


def _check_escape(pattern: str, at: int) -> None:
    if at + 1 == len(pattern):
        raise Refusal("ends with a lone backslash")
    char = pattern[at + 1]
    if char in "bB":
        raise Refusal(f"uses the word border \\{char}, which is not supported")
    if char in "123456789k":
        raise Refusal(f"uses the back-reference \\{char}, which is not supported")
    if char in "pP":
        raise Refusal(f"uses the Unicode class \\{char}, which is not supported; list the ranges")
    if char.isascii() and char.isalnum() and char not in _ESCAPES:
        raise Refusal(f"uses the escape \\{char}, which has no meaning here")


def _needs_escape(pattern: str, at: int) -> bool:
    char = pattern[at]
    return (
        char == '"' or char < " " or (char == "\\" and pattern[at + 1 : at + 2] in tuple("nrtfv0c"))
    )


def _check_group(pattern: str, at: int) -> None:
    for opening, what in _ADVICE.items():
        if pattern.startswith(opening, at + 1):
            raise Refusal(f"uses {what}, which {'are' if what[-1] == 's' else 'is'} not supported")
    if pattern.startswith("?", at + 1) and not pattern.startswith(("?:", "?<"), at + 1):
        raise Refusal("uses flags inside a group, which are not supported")
