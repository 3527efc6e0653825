"""Fixed CPU workloads: (prompt token ids, tokens to generate), greedy and without end of text."""

from __future__ import annotations

import random

Work = list[tuple[list[int], int]]


def ragged(vocab: int, count: int = 64, seed: int = 0) -> Work:
    """`count` requests of 16–256 tokens in and 16–128 out, drawn uniformly."""
    rng = random.Random(seed)
    work: Work = []
    for _ in range(count):
        tokens_in, tokens_out = rng.randint(16, 256), rng.randint(16, 128)
        work.append(([rng.randint(10, vocab - 1) for _ in range(tokens_in)], tokens_out))
    return work


def square(vocab: int, batch: int, tokens_in: int = 128, tokens_out: int = 64) -> Work:
    """`batch` requests of one size."""
    rng = random.Random(batch)
    return [
        ([rng.randint(10, vocab - 1) for _ in range(tokens_in)], tokens_out) for _ in range(batch)
    ]


def named(name: str, vocab: int) -> Work:
    return ragged(vocab) if name == "ragged" else square(vocab, int(name.removeprefix("batch")))


WORDS = (
    *("the", "of", "a", "river", "stone", "light", "under", "city", "morning"),
    *("north", "engine", "paper", "green", "quiet", "bridge"),
)


def ragged_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 2 to 200 words, as many twice as long as half as long: queries and passages."""
    rng = random.Random(seed)
    sizes = [round(2 * 100 ** rng.random()) for _ in range(count)]
    return [" ".join(rng.choices(WORDS, k=size)) for size in sizes]
