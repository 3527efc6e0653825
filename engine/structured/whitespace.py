"""How JSON may be laid out. Never without a bound: a model could spend its budget on blanks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.structured.refusal import Refusal

MAX_BLANKS = 8  # in a row, where white space is free
_BLANK = r"(?: |\\n|\\t|\\r|\\s|\n|\t|\r)"
_FREE = re.compile(rf"(?:\[{_BLANK}+\]|{_BLANK})(?:[*+?]|\{{\d{{1,4}}(?:,\d{{0,4}})?\}})?")


@dataclass(frozen=True, slots=True)
class Layout:
    """Separators of items and of keys; None where blanks and line ends are free within bounds."""

    separators: tuple[str, str] | None


COMPACT = Layout((", ", ": "))
TIGHT = Layout((",", ":"))
FREE = Layout(None)


def layout_of(pattern: str | None, compact: bool | None = None) -> Layout:
    """The layout for a `whitespace_pattern` (a regex of blanks) and `disable_any_whitespace`.

    Raises `Refusal` for a pattern that is more than blanks.
    """
    if not isinstance(pattern, str | None):
        raise Refusal("needs a text as whitespace_pattern")
    if pattern is None:
        return FREE if compact is False else COMPACT
    if pattern == "":
        return TIGHT
    if compact:
        raise Refusal("cannot have both whitespace_pattern and disable_any_whitespace")
    if not _FREE.fullmatch(pattern):
        raise Refusal("takes as whitespace_pattern only blanks, such as '[ \\n]*' or ''")
    return FREE
