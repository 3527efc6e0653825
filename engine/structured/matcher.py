"""Follows the text of one row: which tokens may come next, as a mask of bits.

Reasoning before the constrained text is free; where the model may choose to reason, the first
token begins either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from engine.errors import InvalidRequest, PagodaError
from engine.structured.bindings import core
from engine.structured.compiler import Grammar
from engine.structured.outputs import Thought
from engine.structured.words import Mask


class Matcher:
    """State of one row. `fill` before each token, `accept` after it."""

    def __init__(
        self,
        grammar: Grammar,
        thought: Thought | None,
        *,
        output: Iterable[int] = (),
        min_tokens: int = 0,
        ignore_eos: bool = False,
    ) -> None:
        """`output`: tokens that the row has already, after a preemption."""
        self.handle: Any = core.GrammarMatcher(grammar.handle, None, False, -1, None)
        self._thought = _Thinking(thought, grammar) if thought is not None else None
        self._eos_ids = grammar.words.eos_ids
        self._eos = grammar.words.mask(grammar.words.eos_ids)
        self._clean = grammar.words.without(grammar.barred)
        self._goes_on, self._left = ignore_eos, min_tokens
        self._alive = True  # false: what was written can only become a start of reasoning
        self._ended = False  # the end was said
        self.error: PagodaError | None = None
        for token_id in output:
            self.accept(token_id)

    @property
    def asks(self) -> bool:
        """Whether the grammar has to say what may come next: `handle` writes it into the mask."""
        thought = self._thought
        return self._alive and not self._ended and (thought is None or not thought.inside)

    def fill(self, masks_RW: Mask, row: int) -> None:
        """Write the mask of the next token into its row."""
        if self.asks:
            self.handle.fill_next_token_bitmask(masks_RW, row, False)
        self.finish(masks_RW[row])

    def finish(self, mask: Mask) -> None:
        """Make the whole mask of what `handle` wrote into it, if it was asked."""
        thought = self._thought
        if thought is not None and thought.inside:
            mask[:] = ~self._eos  # an answer that ended here would not have its form
            return
        if self._ended:
            mask[:] = self._eos  # whatever is said now will be dropped
        elif not self._alive:
            mask[:] = 0
        elif self._clean is not None:
            np.bitwise_and(mask, self._clean, out=mask)
        if (self._goes_on or self._left > 0) and self._may_end(mask):
            rest = mask & ~self._eos
            if rest.any():  # when nothing else may follow, the end is the end
                mask[:] = rest
        if thought is not None:
            mask |= thought.openings()

    def accept(self, token_id: int) -> None:
        """Take the token that was sampled. Sets `error` when the grammar does not."""
        self._left -= 1
        thought = self._thought
        if thought is not None and thought.take(token_id):
            self.handle.reset()
            self._alive, self._ended = True, False
        elif self._alive and self.handle.accept_token(token_id, False):
            self._ended = token_id in self._eos_ids
        else:
            self._alive = False
            if thought is None or thought.closed:
                self.error = InvalidRequest(
                    "The answer left its grammar: the request was ended.",
                    param="structured_outputs",
                )

    def _may_end(self, mask: Mask) -> bool:
        return any(mask[i >> 5] >> (i & 31) & 1 for i in self._eos_ids)


class BatchFiller:
    """Asks many matchers in one call, during which other threads may run."""

    def __init__(self) -> None:
        self._batch = core.BatchGrammarMatcher(1)

    def fill(self, matchers: Sequence[Matcher], masks_RW: Mask, rows: Sequence[int]) -> None:
        asked = [(m.handle, row) for m, row in zip(matchers, rows, strict=True) if m.asks]
        if asked:
            handles, places = zip(*asked, strict=True)
            self._batch.batch_fill_next_token_bitmask(handles, masks_RW, places, False)
        for matcher, row in zip(matchers, rows, strict=True):
            matcher.finish(masks_RW[row])


class _Thinking:
    """Where in its reasoning a text is: before it, inside, or past it (`closed`)."""

    def __init__(self, thought: Thought, grammar: Grammar) -> None:
        self._words = grammar.words
        self._starts = [start.encode() for start in thought.starts]
        self._ends = [end.encode() for end in thought.ends]
        self._longest = max(map(len, self._ends), default=1)
        self._head = b""  # of a start marker, written so far
        self._tail = b""  # where an end marker is looked for
        self.inside = thought.begun
        self.closed = False

    def openings(self) -> Mask:
        """Tokens that begin a start marker or continue one."""
        found = set[int]()
        if not self.closed:
            rests = [s[len(self._head) :] for s in self._starts if s.startswith(self._head)]
            parts = (rest[:size] for rest in rests for size in range(1, len(rest) + 1))
            found.update(i for part in parts if (i := self._words.ids.get(part)) is not None)
        return self._words.mask(found)

    def take(self, token_id: int) -> bool:
        """Follow one token. Whether it belongs to the reasoning and not to the grammar."""
        if self.closed:
            return False
        text = self._words.spelled[token_id]
        if self.inside:
            self._tail += text
            if any(end in self._tail for end in self._ends):
                self.inside, self.closed = False, True
            self._tail = self._tail[-self._longest :]
            return True
        self._head += text
        self.inside = self._head in self._starts
        self.closed = not self.inside and not any(s.startswith(self._head) for s in self._starts)
        return self.inside
