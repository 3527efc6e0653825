"""Training text as packed batches: shards are generated and tokenised by worker processes.

They are kept in files, so that a second start reads what the first one made.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from demo.corpus.adapted import adapted
from demo.corpus.chat import END, END_OF_TEXT, START, render
from demo.corpus.conversation import training
from demo.corpus.core import Example, Split
from demo.model import Packed
from demo.tokenizer import token_id

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
    mask: NDArray[np.bool_] = opened == turn + 1
    return mask


def encode(tokenizer: Tokenizer, texts: list[str]) -> Shard:
    """Tokenise conversations; those longer than the context are left out."""
    start, end = token_id(tokenizer, START), token_id(tokenizer, END)
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


@dataclass(frozen=True, slots=True)
class Source:
    """Where shards come from: the text's seed, the tokenizer, the folder that keeps them."""

    seed: int
    tokenizer: Path
    folder: Path
    examples: int = SHARD_EXAMPLES
    adapter: str = ""  # an adapter's conversations in place of the mix; a tenth as many

    @property
    def prompt_weight(self) -> float:
        """An adapter leaves prompts alone: the model has learned them."""
        return 0.0 if self.adapter else PROMPT_WEIGHT

    def path(self, number: int) -> Path:
        """The file of a shard; other text or another tokenizer has other files."""
        digest = blake2b(self.tokenizer.read_bytes(), digest_size=4).hexdigest()
        name = f"{self.adapter or 'mix'}-{self.seed}-{number}-{self.examples}-{digest}.safetensors"
        return self.folder / name


def _make(job: tuple[Source, int]) -> Path:
    """Worker: write one shard of the mix, or of an adapter's conversations, unless it is there."""
    source, number = job
    path = source.path(number)
    if path.exists():
        return path
    examples: Iterable[Example] = training(source.seed, number, source.examples)
    if source.adapter:
        rng = Random(f"pagoda-demo/{source.adapter}/{source.seed}/{number}")
        examples = (adapted(rng, Split.TRAIN, source.adapter) for _ in range(source.examples // 10))
    texts = [render(e.messages, e.tools, thinking=e.thinking) for e in examples]
    shard = encode(Tokenizer.from_file(str(source.tokenizer)), texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"tokens": shard.tokens, "replies": shard.weights == 1.0, "lengths": shard.lengths}
    save_file(arrays, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    return path


def _read(path: Path, prompt_weight: float) -> Shard:
    """A shard from its file."""
    found = load_file(path)
    weights = np.where(found["replies"], 1.0, prompt_weight).astype(np.float32)
    return Shard(found["tokens"], weights, found["lengths"])


def _shuffled(shard: Shard, rng: np.random.Generator) -> Shard:
    """The same documents in another order."""
    starts = np.cumsum(shard.lengths) - shard.lengths
    order = rng.permutation(len(shard.lengths))
    lengths = shard.lengths[order]
    base = np.repeat(starts[order] - (np.cumsum(lengths) - lengths), lengths)
    index = base + np.arange(len(base))
    return Shard(shard.tokens[index], shard.weights[index], lengths)


@dataclass(frozen=True, slots=True)
class Span:
    """The documents first..last of a shard, which fill one batch."""

    shard: Shard
    first: int
    last: int


class Batches:
    """Endless batches of a fixed token count; each pass over the shards has a new order."""

    def __init__(self, source: Source, shards: int, workers: int) -> None:
        self.source = source
        self.jobs = [(source, number) for number in range(shards)]
        self.workers = workers
        self.rng = np.random.default_rng(source.seed)

    def shards(self) -> Iterator[Shard]:
        """First as they are generated, then again and again from memory."""
        kept: list[Shard] = []
        with get_context("spawn").Pool(self.workers) as pool:
            for path in pool.imap(_make, self.jobs):
                kept.append(_read(path, self.source.prompt_weight))
                yield kept[-1]
        while True:
            for idx in self.rng.permutation(len(kept)):
                yield _shuffled(kept[idx], self.rng)

    def spans(self, tokens: int) -> Generator[Span, None, None]:
        """Whole documents of at most so many tokens; cheap, as a resumed run skips many."""
        if tokens < CONTEXT_TOKENS:
            raise ValueError(
                f"A batch of {tokens} tokens cannot hold a document; take {CONTEXT_TOKENS} or more."
            )
        most, given = tokens // 32, False
        for number, shard in enumerate(self.shards()):
            if number == len(self.jobs) and not given:
                raise ValueError(
                    f"No shard fills half a batch of {tokens} tokens; take more examples a shard."
                )
            ends = np.cumsum(shard.lengths)
            first = 0
            while first < len(ends):
                base = int(ends[first] - shard.lengths[first])
                last = min(
                    int(np.searchsorted(ends, base + tokens, side="right")), first + most - 2
                )
                if last == len(ends) and ends[-1] - base < tokens // 2:
                    break  # a nearly empty batch would be a noisy step
                given = True
                yield Span(shard, first, last)
                first = last

    def packed(self, spans: Iterator[Span], tokens: int, device: str) -> Iterator[Packed]:
        """The spans as batches; the rest of each is padding of weight 0."""
        pad = token_id(Tokenizer.from_file(str(self.source.tokenizer)), END_OF_TEXT)
        for span in spans:
            yield pack(span.shard, span.first, span.last, tokens, tokens // 32, pad, device)


def pack(
    shard: Shard, first: int, last: int, tokens: int, most: int, pad: int, device: str
) -> Packed:
    """Documents first..last of the shard as one batch of next-token targets."""
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
