"""What a plan changes in a runner's batch before it computes, the same on every device."""

from __future__ import annotations

from typing import Protocol

from engine.errors import InternalError, InvalidRequest, PagodaError
from engine.logs import event_log
from engine.runner.scores import PromptScores
from engine.scheduler.plan import RowStart, StepPlan, StepResult

log = event_log(__name__)


class Rows(Protocol):
    """The host's tables of a batch."""

    def start(self, start: RowStart) -> None: ...

    def add_blocks(self, row: int, blocks: list[int]) -> None: ...


class RowSettings(Protocol):
    """A sampler's settings of every row."""

    def start(self, start: RowStart) -> None: ...

    def end(self, row: int) -> None: ...


def end_rows(plan: StepPlan, settings: RowSettings, scores: PromptScores) -> None:
    for row in plan.ends:
        settings.end(row)
        scores.end(row)


def start_rows(
    plan: StepPlan, result: StepResult, rows: Rows, settings: RowSettings, scores: PromptScores
) -> None:
    """Seat requests and add blocks. A request that cannot be sampled fails in `result` alone."""
    for start in plan.starts:
        rows.start(start)
        scores.start(start)
        try:
            settings.start(start)
        except Exception as error:  # its bad_words, say, are no text for the tokenizer
            log.exception("row_not_started", rid=start.request_id)
            settings.end(start.row)
            result.failed[start.row] = _not_started(error)
    for row, _, blocks in plan.new_blocks:
        rows.add_blocks(row, blocks)


def _not_started(error: Exception) -> PagodaError:
    if isinstance(error, RuntimeError):  # of torch: the device's, not the request's
        return InternalError("The device could not take the request's sampling fields.")
    return InvalidRequest("The request's sampling fields cannot be used with this model.")
