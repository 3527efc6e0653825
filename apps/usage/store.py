"""The settler's SQL: insert what is new, add to sums only what was really inserted.

Django's `bulk_create(ignore_conflicts=True)` does not say which rows it inserted, so the two
statements are written here. Both run on SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection, models, transaction

from apps.usage.models import UsageDay, UsageHour, UsageKey, UsageRecord
from apps.usage.rows import SumKey, sums_per_day, sums_per_hour

ROWS_PER_STATEMENT = 500  # 28 columns each; SQLite takes 32 766 parameters


def usage_insert(records: Sequence[UsageRecord]) -> int:
    """Store rows whose rid is new, with their sums, in one transaction. Returns how many."""
    _survive_power_loss()
    with transaction.atomic():
        return rows_add(records)


def rows_add(records: Sequence[UsageRecord]) -> int:
    """The same inside the caller's transaction."""
    inserted: set[str] = set()
    for start in range(0, len(records), ROWS_PER_STATEMENT):
        inserted |= _insert_new(records[start : start + ROWS_PER_STATEMENT])
    new = {record.rid: record for record in records if record.rid in inserted}
    sums_add(UsageHour, "hour", sums_per_hour(new.values()))
    sums_add(UsageDay, "day", sums_per_day(new.values()))
    _note_names(new.values())
    return len(inserted)


def _note_names(records: Iterable[UsageRecord]) -> None:
    """Keep each key's last names, in an order all settlers share; unchanged rows stay untouched."""
    names = {r.key_id: (r.key_name, r.owner_id, r.owner_name) for r in records}
    fields = ["key_id", "key_name", "owner_id", "owner_name"]
    quote = connection.ops.quote_name
    table = quote(UsageKey._meta.db_table)
    changed = " OR ".join(f"{table}.{quote(f)} <> excluded.{quote(f)}" for f in fields[1:])
    sql = (
        f"{_insert_sql(UsageKey, fields, 1)} ON CONFLICT (key_id) DO UPDATE SET "
        f"{', '.join(f'{quote(f)} = excluded.{quote(f)}' for f in fields[1:])} WHERE {changed}"
    )
    if names:
        with connection.cursor() as cursor:
            cursor.executemany(sql, [(key_id, *names[key_id]) for key_id in sorted(names)])


def settlers_wait() -> None:
    """Until this transaction ends nobody stores rows. SQLite's transactions do so by themselves."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(UsageRecord._meta.db_table)
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")


def _survive_power_loss() -> None:
    """SQLite: the commit is on disk before Redis is told to forget the event."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=FULL")


def _insert_new(records: Sequence[UsageRecord]) -> set[str]:
    fields = [field for field in UsageRecord._meta.concrete_fields if not field.primary_key]
    rows = [[_db_value(field, getattr(r, field.attname)) for field in fields] for r in records]
    sql = _insert_sql(UsageRecord, [field.attname for field in fields], len(rows))
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} ON CONFLICT (rid) DO NOTHING RETURNING rid", _flat(rows))
        return {rid for (rid,) in cursor.fetchall()}


def sums_add(
    model: type[UsageHour] | type[UsageDay], period: str, sums: dict[SumKey, dict[str, int]]
) -> None:
    """Add amounts to their rows, in the given order, making rows that are missing."""
    names = [period, "key_id", "model", "adapter", "status"]
    fields = {
        field.attname: field for field in model._meta.concrete_fields if not field.primary_key
    }
    amounts = [name for name in fields if name not in names]
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    sql = _insert_sql(model, [*names, *amounts], 1)
    added = ", ".join(f"{quote(a)} = {table}.{quote(a)} + excluded.{quote(a)}" for a in amounts)
    sql += f" ON CONFLICT ({', '.join(map(quote, names))}) DO UPDATE SET {added}"
    rows = [
        [
            *(_db_value(fields[name], value) for name, value in zip(names, key, strict=True)),
            *(more.get(name, 0) for name in amounts),
        ]
        for key, more in sums.items()
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)


def _insert_sql(model: type[models.Model], columns: Sequence[str], rows: int) -> str:
    quote = connection.ops.quote_name
    marks = f"({', '.join(['%s'] * len(columns))})"
    return (
        f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(map(quote, columns))}) "
        f"VALUES {', '.join([marks] * rows)}"
    )


def _db_value(field: Any, value: Any) -> Any:
    return field.get_db_prep_save(value, connection)


def _flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in rows for value in row]
