"""Usage stream → database: read, commit, then acknowledge. A kill at any point loses nothing.

Between commit and acknowledgement an event may come again; the unique rid absorbs it.
"""

from __future__ import annotations

import os
import secrets
import socket
import time

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from msgspec import ValidationError
from redis.exceptions import RedisError, ResponseError

from apps.usage.budgets import budgets_restore
from apps.usage.models import UsageRecord
from apps.usage.rows import record_of
from apps.usage.store import usage_insert
from engine import redis_keys, streams
from engine.logs import event_log
from engine.messages import OtherVersion, UsageEvent, unpack
from engine.redis_link import RedisLink

log = event_log(__name__)
BATCH = 500
BLOCK_MS = 1000
DEAD_AFTER_MS = 10_000  # an event held this long belongs to a settler that died
CLAIM_EVERY_S = 2.0


class Settler:
    """One consumer of `pgd:usage`. Several may run; each event settles once."""

    def __init__(self, redis_url: str, *, dead_after_ms: int = DEAD_AFTER_MS) -> None:
        self._link = RedisLink(redis_url)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._dead_after_ms = dead_after_ms
        self._claim_at = 0.0
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        """Settle until `stop()`. Redis or database away: wait and go on."""
        fresh = False
        while not self._stopping:
            try:
                if not fresh:
                    self._ensure_group()
                    self._restore_budgets()  # before events of a new epoch are in the database
                    self._settle_unacknowledged()
                    fresh = True
                self.turn()
                self._link.worked()
            except (RedisError, OSError, DatabaseError, InterfaceError) as error:
                fresh = False
                self._link.failed(error)
                connection.close()
        self._leave()

    def turn(self) -> int:
        """One batch: what a dead settler held, else what is new. Returns how many events."""
        entries = self._take_over()
        if not entries:
            reply = self._link.client.xreadgroup(
                redis_keys.USAGE_GROUP,
                self._name,
                {redis_keys.USAGE: ">"},
                count=BATCH,
                block=BLOCK_MS,
            )
            entries = streams.by_stream(reply).get(redis_keys.USAGE, [])
        self._settle(entries)
        return len(entries)

    def _settle(self, entries: list[streams.Entry]) -> None:
        if not entries:
            return
        records, done = [], []
        for entry_id, fields in entries:
            try:
                record = _record(fields)
            except OtherVersion as error:  # stays: a settler of that version takes it over
                log.error("usage_of_another_version", cause=str(error))
                continue
            done.append(entry_id)
            if record is not None:
                records.append(record)
        usage_insert(records)
        if done:
            self._acknowledge(done)

    def _acknowledge(self, ids: list[str]) -> None:
        pipeline = self._link.client.pipeline(transaction=True)
        pipeline.xack(redis_keys.USAGE, redis_keys.USAGE_GROUP, *ids)
        pipeline.xdel(redis_keys.USAGE, *ids)
        pipeline.execute()

    def _ensure_group(self) -> None:
        try:
            self._link.client.xgroup_create(
                redis_keys.USAGE, redis_keys.USAGE_GROUP, id="0", mkstream=True
            )
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _restore_budgets(self) -> None:
        if behind := budgets_restore(self._link.client):
            log.error("budgets_restored", count=behind)

    def _settle_unacknowledged(self) -> None:
        """Events we were given but did not acknowledge, because a fault came between."""
        after = "0"
        while True:
            reply = self._link.client.xreadgroup(
                redis_keys.USAGE_GROUP, self._name, {redis_keys.USAGE: after}, count=BATCH
            )
            entries = streams.by_stream(reply).get(redis_keys.USAGE, [])
            if not entries:
                return
            self._settle(entries)
            after = entries[-1][0]

    def _take_over(self) -> list[streams.Entry]:
        if time.monotonic() < self._claim_at:
            return []
        reply = self._link.client.xautoclaim(
            redis_keys.USAGE,
            redis_keys.USAGE_GROUP,
            self._name,
            min_idle_time=self._dead_after_ms,
            start_id="0-0",
            count=BATCH,
        )
        entries = streams.claimed(reply)[1]
        if not entries:  # only then rest: a dead settler's backlog goes first
            self._claim_at = time.monotonic() + CLAIM_EVERY_S
        return entries

    def _leave(self) -> None:
        """Remove our name from the group; events we still hold keep it for `_take_over`."""
        try:
            client = self._link.client
            held = client.xpending_range(
                redis_keys.USAGE, redis_keys.USAGE_GROUP, "-", "+", 1, consumername=self._name
            )
            if not held:
                client.xgroup_delconsumer(redis_keys.USAGE, redis_keys.USAGE_GROUP, self._name)
        except (RedisError, OSError):
            pass  # the next settler works with or without our name in the group
        self._link.close()


def _record(fields: streams.Fields) -> UsageRecord | None:
    """The row of an event; one that cannot be read is logged whole, for it is somebody's bill.
    Raises `OtherVersion`."""
    packed = fields.get(b"e", b"")
    try:
        return record_of(unpack(UsageEvent, packed), timezone.now())
    except OtherVersion:
        raise
    except (ValueError, ValidationError, OverflowError, OSError) as error:  # OSError: no such date
        log.error("usage_unreadable", cause=str(error), packed=packed.hex())
        return None
