"""From a usage event to a row, and from rows to sums. Pure: no database, no Redis."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from apps.usage.histogram import bucket, columns
from apps.usage.models import Status, UsageRecord
from engine.messages import Bill, Counts, Finish, UsageEvent

SUMMED = ("prompt_tokens", "cached_tokens", "completion_tokens", "micros", "queue_ms", "total_ms")
SumKey = tuple[Any, str, str, str, str]  # period, key, model, adapter, status
_STATUS = {
    Finish.STOP: Status.OK,
    Finish.LENGTH: Status.OK,
    Finish.REPETITION: Status.OK,
    Finish.CANCELLED: Status.CANCELLED,
    Finish.LOST: Status.LOST,
    Finish.ERROR: Status.ERROR,
}
_LARGEST = 2**53  # Lua counts exactly so far, and sums of such figures still fit their columns
_LONGEST = {
    field.name: field.max_length
    for field in UsageRecord._meta.concrete_fields
    if getattr(field, "max_length", None)
}


def cost_micros(bill: Bill, counts: Counts) -> int:
    """Price of the tokens in millionths, rounded half up. Prices are per million tokens."""
    fresh = counts.prompt_tokens - counts.cached_tokens
    total = (
        fresh * bill.input_micros
        + counts.cached_tokens * bill.cached_micros
        + counts.completion_tokens * bill.output_micros
    )
    return (total + 500_000) // 1_000_000


def record_of(event: UsageEvent, settled_at: datetime) -> UsageRecord:
    """The row of an ended request. Raises `msgspec.ValidationError` for a broken bill, `ValueError`
    for figures no row may hold: one such event must not stop the settler."""
    bill = msgspec.convert(event.bill, Bill)
    counts = event.counts
    micros = cost_micros(bill, counts)
    for figure in (*msgspec.structs.astuple(counts), micros, event.attempts, bill.price_version):
        if not 0 <= figure <= _LARGEST:
            raise ValueError(f"{figure} is not between 0 and {_LARGEST}.")
    names = {
        "rid": event.rid,
        "key_id": bill.key_id,
        "key_name": bill.key_name,
        "owner_id": bill.owner_id,
        "owner_name": bill.owner_name,
        "model": bill.model,
        "adapter": bill.adapter,
        "adapter_digest": bill.adapter_digest,
        "route": bill.route,
        "error": event.error,
        "engine": event.engine,
        "client_request_id": bill.client_request_id,
    }
    return UsageRecord(
        **{name: _stored(name, value) for name, value in names.items()},
        settled_at=settled_at,
        ended_at=datetime.fromtimestamp(event.ended_ms / 1000, UTC),
        stream=bill.stream,
        status=_STATUS[event.finish].value,
        finish=event.finish.value,
        attempts=event.attempts,
        prompt_tokens=counts.prompt_tokens,
        cached_tokens=counts.cached_tokens,
        completion_tokens=counts.completion_tokens,
        queue_ms=counts.queue_ms,
        ttft_ms=counts.ttft_ms,
        total_ms=counts.total_ms,
        price_version=bill.price_version,
        micros=micros,
    )


def _stored(name: str, text: str) -> str:
    """PostgreSQL refuses NUL and over-long text."""
    return text.replace("\x00", "")[: _LONGEST[name]]


def sums_per_hour(records: Iterable[UsageRecord]) -> dict[SumKey, dict[str, int]]:
    return _sums(
        (record, record.ended_at.replace(minute=0, second=0, microsecond=0)) for record in records
    )


def sums_per_day(records: Iterable[UsageRecord]) -> dict[SumKey, dict[str, int]]:
    return _sums((record, record.ended_at.date()) for record in records)


def _sums(
    records: Iterable[tuple[UsageRecord, datetime | date]],
) -> dict[SumKey, dict[str, int]]:
    """Amounts to add, in an order all settlers share: no two of them can wait for each other."""
    sums: dict[SumKey, dict[str, int]] = {}
    for record, period in records:
        for key_id in {record.key_id, ""}:
            key = (period, key_id, record.model, record.adapter, str(record.status))
            amounts = sums.setdefault(key, {})
            for name, amount in _amounts(record):
                amounts[name] = amounts.get(name, 0) + amount
    return dict(sorted(sums.items()))


def _amounts(record: UsageRecord) -> Iterable[tuple[str, int]]:
    yield "requests", 1
    for name in SUMMED:
        yield name, getattr(record, name)
    yield columns("total")[bucket(record.total_ms)], 1
    if record.completion_tokens:
        yield columns("ttft")[bucket(record.ttft_ms)], 1
    if record.completion_tokens > 1:
        gap_ms = (record.total_ms - record.ttft_ms) / (record.completion_tokens - 1)
        yield columns("itl")[bucket(gap_ms)], 1
