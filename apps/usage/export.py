"""CSV of sums and of rows: streamed, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from apps.usage import log, report
from apps.usage.models import SUM_FIELDS
from apps.usage.period import Period
from apps.usage.report import KeyName, Which

MOST_ROWS = 1_000_000
ROWS_AT_ONCE = 2_000
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
ROW_FIELDS = (
    "ended_at", "rid", "key_id", "key_name", "owner_name", "model", "adapter", "route", "stream",
    "status", "finish", "error", "attempts", "prompt_tokens", "cached_tokens",
    "completion_tokens", "queue_ms", "ttft_ms", "total_ms", "micros", "client_request_id",
)  # fmt: skip
NAMELESS = KeyName("", "", False)
SUM_COLUMNS = ("start_utc", "key_id", "key_name", "owner_name", "model", "adapter", "status")


def safe(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def rows_response(filters: log.Filters) -> StreamingHttpResponse:
    """All rows of the filters, read page by page while the client takes them."""
    batches = log.pages(filters, ROWS_AT_ONCE)
    return _response("requests.csv", ROW_FIELDS, (_row_lines(rows) for rows in batches))


def sums_response(span: Period, which: Which) -> StreamingHttpResponse:
    """Sums per step, key, model, adapter and status."""
    return _response("usage.csv", (*SUM_COLUMNS, *SUM_FIELDS), _sum_batches(span, which))


def _row_lines(rows: Iterable[Any]) -> list[list[Any]]:
    return [[_plain(getattr(row, name)) for name in ROW_FIELDS] for row in rows]


def _sum_batches(span: Period, which: Which) -> Iterator[list[list[Any]]]:
    names = report.key_names()
    rows, column = report.by_step(span)
    order = (column, "key_id", "model", "adapter", "status")
    lines: list[list[Any]] = []
    found = which.of(rows, per_key=True).order_by(*order).values(*order, *SUM_FIELDS)
    for row in found.iterator(chunk_size=ROWS_AT_ONCE):
        name = names.get(row["key_id"], NAMELESS)
        start, key, *rest = (row[part] for part in order)
        lines.append(
            [
                _plain(start),
                key,
                name.name,
                name.owner,
                *rest,
                *(row[n] for n in SUM_FIELDS),
            ]
        )
        if len(lines) == ROWS_AT_ONCE:
            yield lines
            lines = []
    yield lines


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


class _Echo:
    """A file whose `write` hands the text back: what `csv` needs to make lines one by one."""

    def write(self, text: str) -> str:
        return text


def _response(
    name: str, head: Sequence[str], batches: Iterator[list[list[Any]]]
) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_csv(head, batches), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="pagoda-{name}"'
    response["Cache-Control"] = "no-store"
    return response


async def _csv(head: Sequence[str], batches: Iterator[list[list[Any]]]) -> AsyncIterator[bytes]:
    """Each batch is read in a thread; the event loop goes on meanwhile."""
    writer = csv.writer(_Echo())
    yield str(writer.writerow(head)).encode()
    following = sync_to_async(partial(next, batches, None))
    while (lines := await following()) is not None:
        yield "".join(writer.writerow([safe(cell) for cell in line]) for line in lines).encode()
