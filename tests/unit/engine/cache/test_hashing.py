from __future__ import annotations

import pytest

from engine.cache.hashing import extend_chain, root_digest


def chain(tokens: list[int], root: bytes = b"", size: int = 4) -> list[bytes]:
    digests: list[bytes] = []
    extend_chain(digests, root, tokens, size, len(tokens))
    return digests


def test_only_full_blocks_get_a_digest():
    assert [len(chain(list(range(n)))) for n in (0, 3, 4, 5, 8)] == [0, 0, 1, 1, 2]


def test_growing_a_chain_gives_the_same_digests_as_hashing_at_once():
    tokens, grown = list(range(23)), []
    for known in range(24):
        extend_chain(grown, b"", tokens, 4, known)
    assert grown == chain(tokens)


def test_a_block_depends_on_everything_before_it():
    assert chain([1, 2, 3, 4, 5, 6, 7, 8])[1] != chain([9, 2, 3, 4, 5, 6, 7, 8])[1]


def test_equal_prefixes_share_digests_up_to_the_first_difference():
    one, other = chain([1] * 8 + [2] * 4), chain([1] * 8 + [3] * 4)
    assert one[:2] == other[:2]
    assert one[2] != other[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"adapter": "a"}),
        ({}, {"salt": b"s"}),
        ({"adapter": "a"}, {"adapter": "b"}),
        ({"salt": b"a"}, {"salt": b"b"}),
        ({"adapter": "ab"}, {"salt": b"ab"}),
        ({"adapter": "a", "salt": b"bc"}, {"adapter": "ab", "salt": b"c"}),
    ],
)
def test_adapters_and_tenants_never_share_a_chain(one, other):
    assert root_digest(**one) != root_digest(**other)
