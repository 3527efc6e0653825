"""Negative controls: settlers with one rule of exactly-once left out. The books must show it.

`python -m tests.chaos.bad_settlers forgetful`  acknowledges before it stores: rows get lost
`python -m tests.chaos.bad_settlers doubling`   stores without looking at the rid: rows double
"""

from __future__ import annotations

import sys
import time

import django

django.setup()

from django.db import connection  # noqa: E402

from apps.usage import store  # noqa: E402
from apps.usage.models import UsageRecord  # noqa: E402
from apps.usage.settler import Settler  # noqa: E402
from inference_site.redis import redis_url  # noqa: E402

BUSY_S = 0.2  # as long as a busy database takes


class Forgetful(Settler):
    def _settle(self, entries):
        if entries:
            self._acknowledge([entry_id for entry_id, _ in entries])
            time.sleep(BUSY_S)
        super()._settle(entries)


class Doubling(Settler):
    """Needs `drop_unique()` once before."""

    def _acknowledge(self, ids):
        time.sleep(BUSY_S)
        super()._acknowledge(ids)


def insert_all(records):
    """In place of `store._insert_new`."""
    UsageRecord.objects.bulk_create(records)
    return {record.rid for record in records}


def drop_unique() -> None:
    """Take the unique index away."""
    new = UsageRecord._meta.get_field("rid").clone()
    new._unique = False
    new.set_attributes_from_name("rid")
    with connection.schema_editor() as editor:
        editor.alter_field(UsageRecord, UsageRecord._meta.get_field("rid"), new)


if __name__ == "__main__":
    match sys.argv[1]:
        case "drop-unique":
            drop_unique()
        case "forgetful":
            Forgetful(redis_url(), dead_after_ms=2000).run()
        case "doubling":
            store._insert_new = insert_all
            Doubling(redis_url(), dead_after_ms=2000).run()
