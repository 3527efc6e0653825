"""Cutting texts and pairs to a length, special tokens kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.tokenizer import Tokenizer

CLS, SEP, THE, CAT, DOG = 2, 3, 85, 86, 87


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    from tests.integration.pooling.checkpoints import write_tokenizer

    folder: Path = tmp_path_factory.mktemp("words")
    write_tokenizer(folder)
    return Tokenizer.load(folder)


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({}, [CLS, THE, CAT, DOG, SEP]),
        ({"most": 5}, [CLS, THE, CAT, DOG, SEP]),
        ({"most": 4}, [CLS, THE, CAT, SEP]),
        ({"most": 4, "side": "left"}, [CLS, CAT, DOG, SEP]),
        ({"most": 1}, [CLS, SEP]),
        ({"most": 2, "add_special_tokens": False}, [THE, CAT]),
        ({"most_each": (1, None)}, [CLS, THE, SEP]),
    ],
)
def test_a_text_is_cut_between_its_special_tokens(
    tokenizer: Tokenizer, options: dict[str, object], ids: list[int]
):
    assert tokenizer.encode_cut("the cat dog", **options) == (ids, 0)


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({}, [THE], [CAT, DOG, DOG, DOG]),
        ({"most": 7}, [THE], [CAT, DOG, DOG]),
        ({"most": 5}, [THE], [CAT]),
        ({"most": 4}, [THE], []),
        ({"most_each": (None, 2)}, [THE], [CAT, DOG]),
    ],
)
def test_of_a_pair_the_longer_text_is_cut_first(
    tokenizer: Tokenizer, options: dict[str, object], first: list[int], second: list[int]
):
    ids, second_at = tokenizer.encode_cut("the", "cat dog dog dog", **options)
    assert ids == [CLS, *first, SEP, *second, SEP]
    assert second_at == len(first) + 2


def test_encoding_leaves_no_cut_behind(tokenizer: Tokenizer):
    tokenizer.encode_cut("the cat dog", most=3)
    assert tokenizer.encode("the cat dog") == [CLS, THE, CAT, DOG, SEP]
