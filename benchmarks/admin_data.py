"""Usage rows by the million, made inside the database: a thousand keys, a few busy ones, 90 days.

Row n is a function of n alone, so that every run and both databases hold the same. Sums are grouped
from the rows by SQL; a test compares them with what the settler's own code computes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.models import Model

from apps.api.models import ApiKey, Owner
from apps.usage.histogram import BOUNDS_MS, BUCKETS, METRICS, columns
from apps.usage.models import UsageDay, UsageHour, UsageKey, UsageRecord
from apps.usage.rows import SUMMED

DAYS = 90
KEYS = 1000
OWNERS = 50
NAMES = ("key_id", "model", "adapter", "status")


def fill(*, rows: int, end: dt.datetime, keys: int = KEYS, days: int = DAYS) -> None:
    """Empty tables are filled; `end` is the moment after the last row, a full second."""
    _fill_keys(keys)
    _fast()
    with _indexes_later(UsageRecord):
        _run(_insert_rows(rows, keys, int(end.timestamp()) - days * 86_400, days * 86_400))
    _run(_insert_hours())
    _run(_insert_days())
    for table, period in ((UsageHour, "hour"), (UsageDay, "day")):
        _run(_insert_totals(table, period))
    vacuum = connection.vendor == "postgresql" and not connection.in_atomic_block
    _run("VACUUM ANALYZE" if vacuum else "ANALYZE")  # as its autovacuum will have done


@contextmanager
def _indexes_later(table: type[Model]) -> Iterator[None]:
    """Made at once over all rows, an index takes a tenth of the time."""
    editor = connection.schema_editor()  # asked for its SQL only: SQLite's own needs no transaction
    for index in table._meta.indexes:
        _run(f"DROP INDEX {connection.ops.quote_name(index.name)}")
    yield
    for index in table._meta.indexes:
        _run(str(index.create_sql(table, editor)))


def _fill_keys(count: int) -> None:
    Owner.objects.bulk_create(Owner(name=f"team {n:02}") for n in range(OWNERS))
    owners = list(Owner.objects.order_by("name"))
    picked = [owners[n % OWNERS] for n in range(count)]
    ApiKey.objects.bulk_create(
        ApiKey(
            public_id=_key_id(n), digest=n.to_bytes(32, "big"), hint="xxxx", owner=owner,
            name=f"service {n:04}", scopes=["inference"],
        )
        for n, owner in enumerate(picked)
    )  # fmt: skip
    UsageKey.objects.bulk_create(
        UsageKey(
            key_id=_key_id(n), key_name=f"service {n:04}", owner_id=str(owner.pk),
            owner_name=owner.name,
        )
        for n, owner in enumerate(picked)
    )  # fmt: skip


def _key_id(n: int) -> str:
    return f"k{n:07}"


def _insert_rows(rows: int, keys: int, start: int, seconds: int) -> str:
    """Cubing a uniform number makes few keys busy and many nearly idle; each uses one model."""
    lite = connection.vendor == "sqlite"
    numbers = (
        f"SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows}"
        if lite
        else f"SELECT generate_series(1::bigint, {rows}) AS n"
    )
    owner = "CAST(owner.id AS varchar(64))"
    values = {
        "rid": "'req-' || n",
        "settled_at": _moment("at + 1"),
        "ended_at": _moment("at"),
        "key_id": "key.public_id",
        "key_name": "key.name",
        "owner_id": owner,
        "owner_name": "owner.name",
        "model": "CASE WHEN mix < 6 THEN 'chat-8b' WHEN mix < 9 THEN 'code-32b' ELSE 'tiny' END",
        "adapter": "CASE WHEN mix = 0 THEN 'support' WHEN mix = 1 THEN 'legal' ELSE '' END",
        "adapter_digest": "''",
        "route": "'/v1/chat/completions'",
        "stream": "(n % 2 = 0)",
        "status": "state",
        "finish": "CASE state WHEN 'ok' THEN 'stop' ELSE state END",
        "error": "CASE state WHEN 'error' THEN 'InvalidRequest' ELSE '' END",
        "attempts": "1",
        "engine": "'1-0-bench'",
        "client_request_id": "''",
        "prompt_tokens": "prompt",
        "cached_tokens": "CASE WHEN b % 3 = 0 THEN prompt / 2 ELSE 0 END",
        "completion_tokens": "made",
        "queue_ms": "b % 40",
        "ttft_ms": "CASE WHEN made = 0 THEN 0 ELSE first END",
        "total_ms": "first + made * (8 + a % 40)",
        "price_version": "1",
        "micros": "prompt * 2 + made * 6",
    }
    quote = connection.ops.quote_name
    recursive = "RECURSIVE " if lite else ""
    return f"""
        WITH {recursive}numbers AS ({numbers}),
        drawn AS (
            SELECT n, {start} + n * {seconds} / {rows + 1} AS at,
                (n * 2654435761) % 4294967296 / 65536 AS a,
                (n * 2246822519) % 4294967296 / 65536 AS b
            FROM numbers
        ),
        facts AS (
            SELECT n, at, a, b, a * a * a * {keys} / 281474976710656 AS k,
                20 + b % 2000 AS prompt, b % 40 + 15 + a % 1200 AS first,
                CASE WHEN b % 400 = 7 THEN 'lost' WHEN b % 100 < 2 THEN 'error'
                     WHEN b % 100 < 4 THEN 'cancelled' ELSE 'ok' END AS state
            FROM drawn
        ),
        told AS (
            SELECT *, k % 10 AS mix,
                CASE state WHEN 'error' THEN 0 ELSE 1 + (a + b) % 500 END AS made
            FROM facts
        )
        INSERT INTO {quote(UsageRecord._meta.db_table)} ({", ".join(map(quote, values))})
        SELECT {", ".join(values.values())} FROM told
        JOIN {quote(ApiKey._meta.db_table)} AS key ON key.public_id = {_padded("k")}
        JOIN {quote(Owner._meta.db_table)} AS owner ON owner.id = key.owner_id
        ORDER BY n
    """


def _facts() -> str:
    """Each row with the buckets of its latencies; -1 where a latency does not count."""
    bounds = "".join(f" WHEN {{0}} <= {bound} THEN {i}" for i, bound in enumerate(BOUNDS_MS))
    bucket = f"CASE{bounds} ELSE {len(BOUNDS_MS)} END"
    # comparing (total - ttft) with bound x gaps keeps to whole numbers
    gaps = "".join(
        f" WHEN total_ms - ttft_ms <= {bound} * (completion_tokens - 1) THEN {i}"
        for i, bound in enumerate(BOUNDS_MS)
    )
    table = connection.ops.quote_name(UsageRecord._meta.db_table)
    # the limit keeps SQLite from computing a bucket anew wherever it is named
    return f"""
        SELECT {_truncated("ended_at", "hour")} AS hour, {", ".join((*NAMES, *SUMMED))},
            {bucket.format("total_ms")} AS total_b,
            CASE WHEN completion_tokens = 0 THEN -1 ELSE {bucket.format("ttft_ms")} END AS ttft_b,
            CASE WHEN completion_tokens < 2 THEN -1{gaps} ELSE {len(BOUNDS_MS)} END AS itl_b
        FROM {table} LIMIT {2**62}
    """


def _insert_hours() -> str:
    counts = [
        f"SUM(CASE WHEN {metric}_b = {i} THEN 1 ELSE 0 END)"
        for metric in METRICS
        for i in range(BUCKETS)
    ]
    names = [*SUMMED, *_histograms()]
    chosen = [*(f"SUM({name})" for name in SUMMED), *counts]
    group = ", ".join(NAMES)
    table = connection.ops.quote_name(UsageHour._meta.db_table)
    return f"""
        INSERT INTO {table} (hour, {group}, requests, {", ".join(names)})
        SELECT hour, {group}, COUNT(*), {", ".join(chosen)} FROM ({_facts()}) AS facts
        GROUP BY hour, {group}
    """


def _insert_days() -> str:
    names = ["requests", *SUMMED, *_histograms()]
    group, time = ", ".join(NAMES), _truncated("hour", "day")
    quote = connection.ops.quote_name
    return f"""
        INSERT INTO {quote(UsageDay._meta.db_table)} (day, {group}, {", ".join(names)})
        SELECT {time}, {group}, {", ".join(f"SUM({name})" for name in names)}
        FROM {quote(UsageHour._meta.db_table)} GROUP BY {time}, {group}
    """


def _insert_totals(model: type[UsageHour] | type[UsageDay], period: str) -> str:
    names = ["requests", *SUMMED, *_histograms()]
    sums = ", ".join(f"SUM({name})" for name in names)
    table = connection.ops.quote_name(model._meta.db_table)
    return f"""
        INSERT INTO {table} ({period}, key_id, model, adapter, status, {", ".join(names)})
        SELECT {period}, '', model, adapter, status, {sums} FROM {table}
        GROUP BY {period}, model, adapter, status
    """


def _histograms() -> Iterable[str]:
    return (name for metric in METRICS for name in columns(metric))


def _moment(epoch: str) -> str:
    if connection.vendor == "sqlite":  # as Django writes it
        return f"strftime('%Y-%m-%d %H:%M:%S', {epoch}, 'unixepoch')"
    return f"to_timestamp({epoch})"


def _truncated(column: str, period: str) -> str:
    if connection.vendor == "sqlite":
        form = "%Y-%m-%d %H:00:00" if period == "hour" else "%Y-%m-%d"
        return f"strftime('{form}', {column})"
    utc = f"date_trunc('{period}', {column} AT TIME ZONE 'UTC')"
    return f"{utc} AT TIME ZONE 'UTC'" if period == "hour" else f"CAST({utc} AS date)"


def _padded(number: str) -> str:
    if connection.vendor == "sqlite":
        return f"printf('k%07d', {number})"
    return f"'k' || lpad(CAST({number} AS text), 7, '0')"


def _fast() -> None:
    """The data can be made again: SQLite need not be able to take a statement back."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
            _run(f"PRAGMA {pragma}")


def _run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
