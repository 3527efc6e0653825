"""Follows the text of one row: which tokens may come next, as a mask of bits.

Reasoning before the constrained text is free; where the model may choose to reason, the first
token begins either.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from engine.errors import InvalidRequest
from engine.structured.bindings import core
from engine.structured.compiler import Grammar
from engine.structured.outputs import Thought
from engine.structured.words import Mask

SLOW_S = 0.25  # CPU time of one token: what costs more harms all other rows


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
        self._words = grammar.words
        self._matcher = core.GrammarMatcher(grammar.handle, None, False, -1, None)
        self._thought = _Thinking(thought, grammar) if thought is not None else None
        self._eos = grammar.words.mask(grammar.words.eos_ids)
        self._barred = grammar.words.holding(grammar.barred)
        self._goes_on, self._left = ignore_eos, min_tokens
        self._alive = True  # false: what was written can only become a start of reasoning
        self.error: InvalidRequest | None = None
        for token_id in output:
            self.accept(token_id)

    def fill(self, masks_RW: Mask, row: int) -> None:
        """Write the mask of the next token into its row. Sets `error` when that takes too long."""
        mask, thought = masks_RW[row], self._thought
        if thought is not None and thought.inside:
            mask[:] = ~self._eos  # an answer that ended here would not have its form
            return
        began = time.thread_time()
        if self._matcher.is_terminated():  # the end was said: this token will be dropped
            mask[:] = self._eos
        elif self._alive:
            self._matcher.fill_next_token_bitmask(masks_RW, row, False)
            if self._barred is not None:
                mask &= ~self._barred
        else:
            mask[:] = 0
        if self._goes_on or self._left > 0:
            rest = mask & ~self._eos
            if rest.any():  # when nothing else may follow, the end is the end
                mask[:] = rest
        if thought is not None:
            mask |= thought.openings()
        if time.thread_time() - began > SLOW_S:
            self.error = _too_slow()

    def accept(self, token_id: int) -> None:
        """Take the token that was sampled. Sets `error` when that takes too long or fails."""
        self._left -= 1
        thought = self._thought
        if thought is not None and thought.take(token_id):
            self._matcher.reset()
            self._alive = True
            return
        began = time.thread_time()
        self._alive = self._alive and self._matcher.accept_token(token_id, False)
        if not self._alive and (thought is None or thought.closed):
            self.error = InvalidRequest(
                "The answer left its grammar: the request was ended.", param="structured_outputs"
            )
        elif time.thread_time() - began > SLOW_S:
            self.error = _too_slow()


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


def _too_slow() -> InvalidRequest:
    return InvalidRequest(
        "The grammar is too ambiguous to be followed: one token took longer than "
        f"{SLOW_S:g} s. Make it simpler.",
        param="structured_outputs",
    )
