"""Training text as packed batches: shards are generated, tokenised and kept by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from demo.corpus.adapted import adapted
from demo.corpus.chat import END, END_OF_TEXT, START, render
from demo.corpus.conversation import training
from demo.corpus.core import Split
from demo.model import Packed

TOKENIZER = Path(__file__).parent / "pagoda-demo" / "tokenizer.json"
SHARD_EXAMPLES = 20_000
CONTEXT_TOKENS = 2048
PROMPT_WEIGHT = 0.1  # prompts teach the words, replies the behaviour


@dataclass(frozen=True, slots=True)
class Shard:
    """Documents one after another: tokens, loss weights, and where each document ends."""

    tokens: NDArray[np.uint16]
    weights: NDArray[np.float32]
    lengths: NDArray[np.int64]


def reply_mask(
    tokens: NDArray[np.uint16], start: int, end: int, assistant: int
) -> NDArray[np.bool_]:
    """True on the tokens of assistant turns, their end mark included, their opening not."""
    opens = np.zeros(len(tokens), dtype=np.int64)
    at = np.flatnonzero(tokens[:-1] == start)
    at = at[tokens[at + 1] == assistant]
    opens[np.minimum(at + 3, len(tokens) - 1)] = 1  # <|im_start|> assistant \n
    closes = np.zeros(len(tokens) + 1, dtype=np.int64)
    closes[1:] = tokens == end
    turn = np.cumsum(closes[:-1])  # a turn is known by how many ended before it
    opened = np.maximum.accumulate(np.where(opens == 1, turn + 1, 0))
    return opened == turn + 1


def encode(tokenizer: Tokenizer, texts: list[str]) -> Shard:
    """Tokenise conversations; those longer than the context are left out."""
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    assistant = tokenizer.encode("assistant").ids
    if len(assistant) != 1:
        raise ValueError("The tokenizer splits the word `assistant`; train it on chat text.")
    found = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    ids = [i for i in found if 1 < len(i) <= CONTEXT_TOKENS]
    tokens = np.fromiter((t for i in ids for t in i), dtype=np.uint16)
    weights = np.where(reply_mask(tokens, start, end, assistant[0]), 1.0, PROMPT_WEIGHT).astype(
        np.float32
    )
    return Shard(tokens, weights, np.array([len(i) for i in ids], dtype=np.int64))


def _make(job: tuple[int, int, str]) -> Shard:
    """Worker: one shard of the mix, or of an adapter's conversations."""
    seed, number, adapter = job
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    if adapter:
        rng = Random(f"pagoda-demo/{adapter}/{seed}/{number}")
        examples = (adapted(rng, Split.TRAIN, adapter) for _ in range(SHARD_EXAMPLES // 10))
    else:
        examples = training(seed, number, SHARD_EXAMPLES)  # type: ignore[assignment]
    return encode(tokenizer, [render(e.messages, e.tools, thinking=e.thinking) for e in examples])


def _shuffled(shard: Shard, rng: np.random.Generator) -> Shard:
    """The same documents in another order."""
    starts = np.cumsum(shard.lengths) - shard.lengths
    order = rng.permutation(len(shard.lengths))
    lengths = shard.lengths[order]
    base = np.repeat(starts[order] - (np.cumsum(lengths) - lengths), lengths)
    index = base + np.arange(len(base))
    return Shard(shard.tokens[index], shard.weights[index], lengths)


class Batches:
    """Endless batches of a fixed token count; each pass over the shards has a new order."""

    def __init__(self, seed: int, shards: int, workers: int, adapter: str = "") -> None:
        self.jobs = [(seed, number, adapter) for number in range(shards)]
        self.workers = workers
        self.rng = np.random.default_rng(seed)

    def shards(self) -> Iterator[Shard]:
        """First as they are generated, then again and again from memory."""
        kept: list[Shard] = []
        with get_context("spawn").Pool(self.workers) as pool:
            for shard in pool.imap(_make, self.jobs):
                kept.append(shard)
                yield shard
        while True:
            for idx in self.rng.permutation(len(kept)):
                yield _shuffled(kept[idx], self.rng)

    def batches(self, tokens: int, device: str) -> Iterator[Packed]:
        """Whole documents until the batch is full; the rest is padding of weight 0."""
        pad = Tokenizer.from_file(str(TOKENIZER)).token_to_id(END_OF_TEXT)
        most = tokens // 32
        for shard in self.shards():
            ends = np.cumsum(shard.lengths)
            first = 0
            while first < len(ends):
                base = int(ends[first] - shard.lengths[first])
                last = min(
                    int(np.searchsorted(ends, base + tokens, side="right")), first + most - 2
                )
                if last == len(ends) and ends[-1] - base < tokens // 2:
                    break  # a nearly empty batch would be a noisy step
                yield pack(shard, first, last, tokens, most, pad, device)
                first = last


def pack(
    shard: Shard, first: int, last: int, tokens: int, most: int, pad: int, device: str
) -> Packed:
    """Documents first..last of the shard as one batch; a token predicts the next one of its document."""
    lengths = shard.lengths[first:last]
    low = int(shard.lengths[:first].sum())
    used = int(lengths.sum())
    ids = np.full(tokens + 1, pad, dtype=np.int64)
    ids[:used] = shard.tokens[low : low + used]
    weights = np.zeros(tokens + 1, dtype=np.float32)
    weights[:used] = shard.weights[low : low + used]
    ends = np.full(most + 1, tokens, dtype=np.int32)
    ends[0] = 0
    ends[1 : len(lengths) + 1] = np.cumsum(lengths)
    weights[ends[:-1]] = 0  # the first token of a document is nobody's target
    positions = np.zeros(tokens, dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    positions[:used] = np.arange(used) - np.repeat(starts, lengths)
    # Padding forms documents of at most one context, so that no position passes the tables.
    rest, idx = used, len(lengths) + 1
    while rest < tokens and idx <= most:
        size = min(CONTEXT_TOKENS, tokens - rest)
        positions[rest : rest + size] = np.arange(size)
        rest += size
        ends[idx] = rest
        idx += 1

    def put(array: NDArray[np.generic]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(device, non_blocking=True) if device == "cuda" else tensor

    return Packed(
        put(ids[:-1]), put(ids[1:].copy()), put(weights[1:].copy()), put(positions), put(ends)
    )
