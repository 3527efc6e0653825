"""What a request forbids or prefers, applied to one row of logits before sampling.

Only rows that use one of these fields have a `Constraints`; the others cost nothing. A CPU applies
them here; a GPU takes masks, biases and counts from here (see kernels/sample_logits.py).
Order: allowed ids, bad words, min_tokens, logit_bias, penalties, the end of reasoning.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.sampling_params import SamplingParams, ThinkingBudget
from engine.scheduler.plan import RowStart

Encode = Callable[[str], list[int]]
Logits = NDArray[np.float32]
_OUT = np.float32(-np.inf)


def needs_constraints(params: SamplingParams) -> bool:
    return bool(
        params.needs_penalties
        or params.logit_bias
        or params.allowed_token_ids is not None
        or params.bad_words
        or params.min_tokens
        or params.thinking_budget is not None
    )


class Thinking:
    """How far one row's reasoning has come, as its budget counts it."""

    def __init__(self, budget: ThinkingBudget, output: list[int]) -> None:
        self._budget = budget
        self._inside = budget.begun
        self._used = 0
        for token_id in output:
            self.add(token_id)

    @property
    def end_id(self) -> int:
        return self._budget.end_id

    @property
    def spent(self) -> bool:
        """The reasoning has to end now."""
        return self._inside and self._used >= self._budget.tokens

    def add(self, token_id: int) -> None:
        if self._inside:
            self._inside = token_id != self._budget.end_id
            self._used += 1
        elif token_id in self._budget.start_ids:
            self._inside = True

    def apply(self, logits_V: Logits) -> None:
        if self.spent:
            kept = logits_V[self._budget.end_id]
            logits_V[:] = _OUT
            logits_V[self._budget.end_id] = kept if np.isfinite(kept) else 0.0


class Constraints:
    """State of one row. `add` takes each sampled token, `apply` changes logits in place."""

    def __init__(self, start: RowStart, vocab_size: int, encode: Encode | None) -> None:
        params = start.params
        self._params, self._vocab_size = params, vocab_size
        self._output = list(start.token_ids[start.prompt_len :])
        stop_ids = set(start.stop_ids)
        if start.grammar is not None:  # its mask knows best when a text may end
            stop_ids -= start.grammar.words.eos_ids
        self._stop_ids = np.array(sorted(stop_ids), np.int64)
        self._bad_words = [
            ids
            for word in params.bad_words
            for ids in spellings(word, encode)
            if max(ids) < vocab_size  # a tokenizer may know tokens that the model cannot say
        ]
        budget = params.thinking_budget
        self._thinking = None if budget is None else Thinking(budget, self._output)
        self._forbidden: NDArray[np.bool_] | None = None
        if params.allowed_token_ids is not None:
            self._forbidden = np.ones(vocab_size, np.bool_)
            self._forbidden[params.allowed_token_ids] = False
        bias = params.logit_bias or {}
        self.bias_ids = np.fromiter(bias, np.int64, len(bias))
        self.bias = np.fromiter(bias.values(), np.float32, len(bias))
        self.penalises = params.needs_penalties
        if params.needs_penalties:
            self._seen = np.zeros(vocab_size, np.bool_)  # in prompt or output
            self._counts = np.zeros(vocab_size, np.int32)  # in output
            self._seen[start.token_ids] = True
            np.add.at(self._counts, np.array(self._output, np.int64), 1)

    def add(self, token_id: int) -> None:
        self._output.append(token_id)
        if self._thinking is not None:
            self._thinking.add(token_id)
        if self._params.needs_penalties:
            self._seen[token_id] = True
            self._counts[token_id] += 1

    @property
    def follows_tokens(self) -> bool:
        """The mask may be another one after the next token."""
        early = len(self._output) <= self._params.min_tokens and self._params.min_tokens > 0
        return bool(self._bad_words) or early or self._thinking is not None

    def mask(self) -> NDArray[np.int32]:
        """[ceil(V / 32)]: bit v % 32 of word v / 32 is set where token v may come next."""
        allowed = np.ones(self._vocab_size, np.bool_)
        if self._forbidden is not None:
            allowed[self._forbidden] = False
        allowed[self._barred()] = False
        if self._thinking is not None and self._thinking.spent:
            allowed[:] = False
            allowed[self._thinking.end_id] = True
        padded = np.zeros(-(-self._vocab_size // 32) * 32, np.bool_)
        padded[: self._vocab_size] = allowed
        return np.packbits(padded, bitorder="little").view(np.int32)

    def uses(self) -> NDArray[np.int32]:
        """[V]: twice the times generated, plus one where the prompt has the token."""
        uses: NDArray[np.int32] = 2 * self._counts + (self._seen & (self._counts == 0))
        return uses

    def _barred(self) -> list[int]:
        """Last tokens of bad words that are about to be completed, and ends that come too soon."""
        barred = [
            word[-1]
            for word in self._bad_words
            if len(word) == 1 or self._output[1 - len(word) :] == word[:-1]
        ]
        if len(self._output) < self._params.min_tokens:
            barred += self._stop_ids.tolist()
        return barred

    def apply(self, logits_V: Logits) -> None:
        if self._forbidden is not None:
            logits_V[self._forbidden] = _OUT
        if barred := self._barred():
            logits_V[barred] = _OUT
        if len(self.bias_ids):
            logits_V[self.bias_ids] += self.bias
        if self._params.needs_penalties:
            self._penalise(logits_V)
        if self._thinking is not None:
            self._thinking.apply(logits_V)

    def _penalise(self, logits_V: Logits) -> None:
        """Repetition as in CTRL (1909.05858), over prompt and output; the other two as OpenAI."""
        params = self._params
        if params.repetition_penalty != 1.0:
            seen = np.flatnonzero(self._seen)
            values = logits_V[seen]
            weight = np.float32(params.repetition_penalty)
            logits_V[seen] = np.where(values > 0, values / weight, values * weight)
        used = np.flatnonzero(self._counts)
        logits_V[used] -= np.float32(params.frequency_penalty) * self._counts[used]
        logits_V[used] -= np.float32(params.presence_penalty)


def spellings(word: str, encode: Encode | None) -> list[list[int]]:
    """The token sequences of a word at the start of a text and after a space."""
    if encode is None:
        return []
    found: list[list[int]] = []
    for text in (word, " " + word.lstrip()):
        ids = encode(text)
        if ids and ids not in found:
            found.append(ids)
    return found
