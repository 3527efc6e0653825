"""Rows that follow a grammar: their masks are filled while the forward pass runs.

A mask is the first of the constraints on a row (see runner/constraints.py).
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import InternalError, InvalidRequest, PagodaError
from engine.logs import event_log
from engine.scheduler.plan import RowStart

if TYPE_CHECKING:
    from engine.structured.matcher import Matcher

log = event_log(__name__)
_OUT = np.float32(-np.inf)


class GrammarRows:
    """One matcher per such row. Without one, nothing here costs anything."""

    def __init__(self, rows: int, vocab_size: int) -> None:
        self._matchers: dict[int, Matcher] = {}
        self._masks = np.zeros((rows, (vocab_size + 31) // 32), np.int32)
        self._vocab_size = vocab_size
        self._pool: ThreadPoolExecutor | None = None
        self._filling: Future[None] | None = None
        self._failed: dict[int, PagodaError] = {}  # by row, found while filling

    def __contains__(self, row: int) -> bool:
        return row in self._matchers

    def start(self, start: RowStart) -> None:
        """Seat a row; one that was preempted is led through its output again."""
        if start.grammar is None:
            return
        from engine.structured.matcher import Matcher  # the grammar has loaded the library

        params = start.params
        form = params.structured_outputs
        self._matchers[start.row] = Matcher(
            start.grammar,
            form.thought if form is not None else None,
            output=start.token_ids[start.prompt_len :],
            min_tokens=params.min_tokens,
            ignore_eos=params.ignore_eos,
        )

    def end(self, row: int) -> None:
        self._matchers.pop(row, None)
        self._failed.pop(row, None)

    def prepare(self, rows: NDArray[np.int32]) -> None:
        """Begin to fill the masks of those rows that have one."""
        followed = [row for row in rows.tolist() if row in self._matchers]
        if followed:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="masks")
            self._filling = self._pool.submit(self._fill, followed)

    def apply(self, logits_SV: Tensor, rows: NDArray[np.int32]) -> dict[int, PagodaError]:
        """Take every token out that may not come next. Failures by index into `rows`."""
        failed: dict[int, PagodaError] = {}
        if self._filling is None:
            return failed
        self._filling.result()
        self._filling = None
        places = [i for i, row in enumerate(rows.tolist()) if row in self._matchers]
        masks = self._masks[rows[places]]
        barred = np.unpackbits(
            ~masks.view(np.uint8), axis=1, bitorder="little", count=self._vocab_size
        ).view(np.bool_)
        logits = logits_SV.numpy()
        for i, mask, barred_V in zip(places, masks, barred, strict=True):
            np.copyto(logits[i], _OUT, where=barred_V)
            error = self._failed.pop(int(rows[i]), None)
            if error is None and not mask.any():
                error = InvalidRequest(
                    "The grammar leads to a place where no token of this model may follow.",
                    param="structured_outputs",
                )
            if error is not None:
                failed[i] = error
        return failed

    def accept(self, rows: NDArray[np.int32], token_ids: NDArray[np.int64]) -> None:
        """Follow the sampled tokens (-1: none). A failure ends the row with its next token."""
        if not self._matchers:
            return
        for row, token_id in zip(rows.tolist(), token_ids.tolist(), strict=True):
            if token_id >= 0 and (matcher := self._matchers.get(row)) is not None:
                matcher.accept(token_id)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _fill(self, rows: list[int]) -> None:
        for row in rows:
            if (matcher := self._matchers.get(row)) is None:
                continue  # its step failed, and the row has ended meanwhile
            try:
                if matcher.error is None:
                    matcher.fill(self._masks, row)
            except Exception:
                log.exception("mask_failed", row=row)
                self._failed[row] = InternalError(
                    "The grammar of this request could not be followed."
                )
            if matcher.error is not None:
                self._failed[row] = matcher.error
