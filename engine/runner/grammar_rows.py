"""Rows that follow a grammar: their masks are filled while the forward pass runs.

A mask is the first of the constraints on a row (see runner/constraints.py). All rows are asked in
one call and timed together; once that took too long, the next steps ask and time row by row, and
the request whose token is slow ends.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import InternalError, InvalidRequest, PagodaError
from engine.kernels.apply_masks import apply_masks
from engine.logs import event_log
from engine.scheduler.plan import RowStart

if TYPE_CHECKING:
    from engine.structured.matcher import BatchFiller, Matcher

SLOW_S = 0.25  # CPU time of one token: what costs more harms all other rows
WARY_STEPS = 256  # asked row by row after a slow one

log = event_log(__name__)


class GrammarRows:
    """One matcher per such row. Without one, nothing here costs anything."""

    def __init__(self, rows: int, vocab_size: int) -> None:
        self._matchers: dict[int, Matcher] = {}
        self._has_one = np.zeros(rows, np.bool_)
        self._masks = np.zeros((rows, (vocab_size + 31) // 32), np.int32)
        self._filler: BatchFiller | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._filling: Future[None] | None = None
        self._failed: dict[int, PagodaError] = {}  # by row, found while filling
        self._wary = 0  # steps to come that are timed row by row

    def __contains__(self, row: int) -> bool:
        return row in self._matchers

    def start(self, start: RowStart) -> None:
        """Seat a row; one that was preempted is led through its output again."""
        if start.grammar is None:
            return
        from engine.structured.matcher import BatchFiller, Matcher  # the grammar has loaded these

        params = start.params
        form = params.structured_outputs
        self._matchers[start.row] = Matcher(
            start.grammar,
            form.thought if form is not None else None,
            output=start.token_ids[start.prompt_len :],
            min_tokens=params.min_tokens,
            ignore_eos=params.ignore_eos,
        )
        self._has_one[start.row] = True
        if self._filler is None:
            self._filler = BatchFiller()
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="masks")

    def end(self, row: int) -> None:
        self._matchers.pop(row, None)
        self._has_one[row] = False
        self._failed.pop(row, None)

    def prepare(self, rows: NDArray[np.int32]) -> None:
        """Begin to fill the masks of those rows that have one."""
        followed = [row for row in rows.tolist() if row in self._matchers]
        if followed and self._pool is not None:
            self._filling = self._pool.submit(self._fill, followed)

    def apply(self, logits_SV: Tensor, rows: NDArray[np.int32]) -> dict[int, PagodaError]:
        """Take every token out that may not come next. Failures by index into `rows`."""
        failed: dict[int, PagodaError] = {}
        if self._filling is None:
            return failed
        self._filling.result()
        self._filling = None
        places = np.flatnonzero(self._has_one[rows])
        owners = rows[places].astype(np.int64)
        alive = apply_masks(logits_SV, self._masks, places, owners)
        for i in places[~alive].tolist():
            failed[i] = InvalidRequest(
                "The grammar leads to a place where no token of this model may follow.",
                param="structured_outputs",
            )
        if self._failed:
            for i, row in zip(places.tolist(), owners.tolist(), strict=True):
                if (error := self._failed.pop(row, None)) is not None:
                    failed[i] = error
        return failed

    def take(
        self, rows: NDArray[np.int32]
    ) -> tuple[dict[int, NDArray[np.int32]], dict[int, PagodaError]]:
        """The masks by row, for a device that applies them itself, and failures by index."""
        masks: dict[int, NDArray[np.int32]] = {}
        failed: dict[int, PagodaError] = {}
        if self._filling is None:
            return masks, failed
        self._filling.result()
        self._filling = None
        for i in np.flatnonzero(self._has_one[rows]).tolist():
            row = int(rows[i])
            masks[row] = self._masks[row]
            if (error := self._failed.pop(row, None)) is not None:
                failed[i] = error
        return masks, failed

    def accept(self, rows: NDArray[np.int32], token_ids: NDArray[np.int64]) -> None:
        """Follow the sampled tokens (-1: none). A failure ends the row with its next token."""
        if not self._matchers:
            return
        pairs = zip(rows.tolist(), token_ids.tolist(), strict=True)
        told = [(self._matchers[row], i) for row, i in pairs if i >= 0 and row in self._matchers]
        alone, began = self._wary > 0 or len(told) == 1, time.thread_time()
        for matcher, token_id in told:
            try:
                matcher.accept(token_id)
            except Exception:  # costs this request only
                log.exception("token_not_followed", token_id=token_id)
                matcher.error = InternalError("The grammar of this request could not be followed.")
            if alone:
                began = _judge(matcher, began)
        self._doubt(began)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _fill(self, rows: list[int]) -> None:
        self._wary = max(0, self._wary - 1)
        found = {}
        for row in rows:
            matcher = self._matchers.get(row)  # None: its step failed, the row has ended meanwhile
            if matcher is not None and matcher.error is None:
                found[row] = matcher
        if self._wary or len(found) == 1 or not self._fill_together(found):
            for row, matcher in found.items():
                self._fill_one(row, matcher)
        for row in rows:
            if (matcher := self._matchers.get(row)) is not None and matcher.error is not None:
                self._failed[row] = matcher.error

    def _fill_together(self, found: dict[int, Matcher]) -> bool:
        """Whether that went well: else the one at fault is to be found."""
        assert self._filler is not None
        began = time.thread_time()
        try:
            self._filler.fill(list(found.values()), self._masks, list(found))
        except Exception:
            return False
        self._doubt(began)
        return True

    def _fill_one(self, row: int, matcher: Matcher) -> None:
        began = time.thread_time()
        try:
            matcher.fill(self._masks, row)
        except Exception:
            log.exception("mask_failed", row=row)
            self._failed[row] = InternalError("The grammar of this request could not be followed.")
        _judge(matcher, began)

    def _doubt(self, began: float) -> None:
        """Time rows one by one from now on if all of them took too long."""
        if time.thread_time() - began > SLOW_S:
            self._wary = WARY_STEPS


def _judge(matcher: Matcher, began: float) -> float:
    """End a request whose token took too long; the time now."""
    now = time.thread_time()
    if now - began > SLOW_S and matcher.error is None:
        matcher.error = InvalidRequest(
            "The grammar is too ambiguous to be followed: one token took longer than "
            f"{SLOW_S:g} s. Make it simpler.",
            param="structured_outputs",
        )
    return now
