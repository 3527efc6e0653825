"""The scanner agrees with the standard library about what is JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.api.parsers.json_text import DEPTH, JsonScanner, is_json

SHREDS = ["{", "}", "[", "]", ",", ":", '"a"', '"', "\\", "\\u12", "aF", "1", "0", "-", ".", "e"]
SHREDS += ["true", "nul", "false", " ", "\n", "\x01", "é", "[]", "{}", '"k":', "1,", "+"]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


def is_json_to_python(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(st.lists(st.sampled_from(SHREDS), max_size=8).map("".join))
@settings(max_examples=300, deadline=None)
def test_accepts_what_the_standard_library_accepts(text: str):
    stripped = text.strip(" \n")
    assert is_json(text) == is_json_to_python(stripped)


@given(values, st.booleans())
@settings(max_examples=100, deadline=None)
def test_accepts_dumped_values_letter_by_letter(value: object, ascii_only: bool):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert is_json(text)
    scanner = JsonScanner()
    read = 0
    for letter in text:
        read += scanner.scan(letter, 0)
    assert read == len(text)
    assert not scanner.bad


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "01", "1.", ".5", "+1", "'a'", "[1,]", "{a: 1}"]
)
def test_refuses_what_other_dialects_allow(text: str):
    assert not is_json(text)


def test_refuses_one_level_more_than_the_limit():
    assert is_json("[" * DEPTH + "]" * DEPTH)
    assert not is_json("[" * (DEPTH + 1) + "]" * (DEPTH + 1))


def test_a_value_of_another_kind_is_no_object():
    assert is_json(' {"a": 1}\n', opening="{")
    assert not is_json("[1]", opening="{")
    assert not is_json("", opening="{")
