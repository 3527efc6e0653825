"""Form of API keys."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api import keyformat

PEPPER = b"p" * 32


def test_a_new_key_has_the_documented_form() -> None:
    new = keyformat.generate()
    assert new.text.startswith(f"pgd_{new.public_id}_")
    assert len(new.text) == 4 + 8 + 1 + 43 + 6
    assert keyformat.public_id_of(new.text) == new.public_id


def test_keys_differ() -> None:
    assert len({keyformat.generate().text for _ in range(200)}) == 200


def test_repr_hides_the_secret() -> None:
    new = keyformat.generate()
    assert new.text not in repr(new)


@given(position=st.integers(0, keyformat.KEY_CHARS - 1), letter=st.sampled_from(string.printable))
def test_one_wrong_character_is_noticed(position: int, letter: str) -> None:
    text = keyformat.generate().text
    changed = text[:position] + letter + text[position + 1 :]
    if changed != text:
        assert keyformat.public_id_of(changed) is None


@given(st.text(max_size=80))
def test_other_texts_are_no_keys(text: str) -> None:
    assert keyformat.public_id_of(text) is None


@pytest.mark.parametrize("cut", [slice(0, -1), slice(1, None), slice(0, 12)])
def test_a_cut_key_is_no_key(cut: slice) -> None:
    assert keyformat.public_id_of(keyformat.generate().text[cut]) is None


def test_digest_depends_on_key_and_pepper() -> None:
    first, second = keyformat.generate().text, keyformat.generate().text
    digest = keyformat.digest(first, PEPPER)
    assert len(digest) == 32
    assert digest != keyformat.digest(second, PEPPER)
    assert digest != keyformat.digest(first, b"q" * 32)


def test_a_chosen_key_has_an_id_that_tells_nothing():
    ids = {keyformat.chosen_id(text, PEPPER) for text in ("EMPTY", "EMPTY2", "token-abc123")}
    assert len(ids) == 3
    assert all(len(i) == keyformat.ID_CHARS and i.isalnum() for i in ids)
    assert keyformat.chosen_id("EMPTY", PEPPER) != keyformat.chosen_id("EMPTY", b"q" * 32)


@pytest.mark.parametrize(
    ("text", "fits"), [("EMPTY", True), ("", False), ("a b", False), ("schlüssel", False),
                       ("x" * 201, False), ("a\n", False)],
)  # fmt: skip
def test_a_chosen_key_fits_a_header(text, fits):
    assert keyformat.is_word(text) is fits
