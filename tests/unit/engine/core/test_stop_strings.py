from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.stop_strings import StopMatcher


class Letters:
    """A detokenizer whose token i is the i-th piece."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces

    def push(self, ids: list[int]) -> str:
        return "".join(self.pieces[i] for i in ids)


def play(pieces: list[str], stops: list[str], *, include: bool = False, free: int = 0):
    """(tokens read, match, safe characters after each token)."""
    matcher, safe = StopMatcher(stops, Letters(pieces), include_stop=include), []
    for i in range(len(pieces)):
        match = matcher.push(i, may_stop=i >= free)
        if match is not None:
            return i + 1, match, safe
        safe.append(matcher.safe_chars())
    return len(pieces), None, safe


def test_a_stop_string_is_found_across_token_borders():
    read, match, _ = play(["ab", "c", "de", "f"], ["bcd"])
    assert (read, match.stop, match.keep_chars) == (3, "bcd", 1)


def test_the_stop_string_is_kept_on_request():
    _, match, _ = play(["ab", "c", "de", "f"], ["bcd"], include=True)
    assert match.keep_chars == 4


def test_the_match_that_completes_first_wins():
    _, match, _ = play(["xxabcde"], ["bcde", "abc"])
    assert (match.stop, match.keep_chars) == ("abc", 2)


def test_text_that_may_become_a_stop_string_is_held_back():
    _, match, safe = play(["ab", "E", "N", "x"], ["END"])
    assert match is None
    assert safe == [2, 2, 2, 5]


def test_text_before_min_tokens_never_matches():
    read, match, _ = play(["a", "b", "a", "b"], ["ab"], free=2)
    assert (read, match.keep_chars) == (4, 2)


TEXT = st.text("ab", max_size=6)


@given(
    pieces=st.lists(TEXT, max_size=12),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_any_cutting_of_the_text_finds_what_the_whole_text_shows(pieces, stops):
    text = "".join(pieces)
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    _, match, safe = play(pieces, stops)
    assert (match is not None) == bool(ends)
    shown = len(text)
    if match is not None:
        shown = match.keep_chars
        assert shown + len(match.stop) == min(ends)
    assert all(count <= shown for count in safe)
    assert safe == sorted(safe)
