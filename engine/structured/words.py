"""The model's vocabulary as bytes, and masks of tokens made from it.

A mask is int32 words: bit v mod 32 of word v // 32 stands for token v.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engine.tokenizer import Tokenizer

Mask = NDArray[np.int32]


class Words:
    """What each token says: in constrained text (special tokens nothing) and in general."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_ids: frozenset[int]) -> None:
        self.eos_ids = eos_ids
        self.spelled = [tokenizer.token_bytes(i) for i in range(vocab_size)]
        self.ids = {word: i for i, word in enumerate(self.spelled) if word}
        silent = tokenizer.special_ids | eos_ids
        self.tokens = [b"" if i in silent else word for i, word in enumerate(self.spelled)]
        self._without: dict[bytes, Mask | None] = {}

    def without(self, characters: bytes) -> Mask | None:
        """The mask of tokens with none of these characters in them; None when that is all."""
        if characters not in self._without:
            barred = frozenset(characters)
            found = [i for i, word in enumerate(self.tokens) if not barred.isdisjoint(word)]
            self._without[characters] = ~self.mask(found) if found else None
        return self._without[characters]

    def mask(self, token_ids: Iterable[int]) -> Mask:
        """A mask with just these tokens."""
        bits = np.zeros((len(self.tokens) + 31) // 32 * 32, np.uint8)
        bits[list(token_ids)] = 1
        return np.packbits(bits, bitorder="little").view(np.int32)
