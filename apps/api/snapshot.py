"""What a web process remembers of keys, models and prices, so that a request asks no database.

Reads run in one small thread pool whose connections are closed after each read. Entries are only
replaced, never changed; admission compares their epochs with Redis and says when one is stale.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import DatabaseError, connections

from apps.api.selectors import KeySnapshot, PriceList, key_read, prices_read
from apps.models.catalog import Catalog, CatalogModel
from apps.models.selectors import catalog_read
from engine.errors import ModelNotFound, Overloaded

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_KEYS = 10_000
MISS_S = 1.0  # an id without a row is not asked for again within this time
PRICES_S = 30.0


class Database:
    """Runs blocking reads beside the event loop: at most two connections per process."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="pagoda-db")

    async def read(self, function: Callable[[], T]) -> T:
        """Raises `Overloaded` (reason `database`) when the database cannot be asked."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _closing, function)
        except DatabaseError as error:
            log.warning("database_away", extra={"cause": type(error).__name__})
            raise Overloaded(
                "The database cannot be reached. Try again shortly.",
                param="database",
                retry_after_s=2,
            ) from None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _closing(function: Callable[[], T]) -> T:
    try:
        return function()
    finally:
        connections.close_all()


class Keyring:
    """Keys by public id. An entry proves nothing until the caller's digest matched it."""

    def __init__(
        self,
        database: Database,
        *,
        read: Callable[[str], KeySnapshot | None] = key_read,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._read = read
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, KeySnapshot | None]] = OrderedDict()
        self._reading: dict[str, asyncio.Future[KeySnapshot | None]] = {}
        self.used: dict[str, float] = {}  # public id → Unix seconds, until it is written down

    def peek(self, public_id: str, max_age_s: float) -> tuple[bool, KeySnapshot | None]:
        """(known, key): the entry if it is young enough."""
        entry = self._entries.get(public_id)
        if entry is None:
            return False, None
        age = self._clock() - entry[0]
        return age <= (max_age_s if entry[1] else MISS_S), entry[1]

    async def get(
        self, public_id: str, max_age_s: float, *, admission: bool = False
    ) -> KeySnapshot | None:
        """The key, read again when the entry is older than `max_age_s`.

        With `admission` an old entry is good enough while the database is away: admission
        compares its epoch with Redis, so a revoked key still gets nowhere.
        """
        known, key = self.peek(public_id, max_age_s)
        if known:
            return key
        try:
            return await self.reload(public_id)
        except Overloaded:
            if admission and key is not None:
                return key
            raise

    def forget(self) -> None:
        """Redis lost its epochs: believe no entry until it was read again."""
        self._entries.clear()

    async def reload(self, public_id: str) -> KeySnapshot | None:
        """Read the row; callers that come meanwhile share the answer. Raises `Overloaded`."""
        if (reading := self._reading.get(public_id)) is not None:
            return await asyncio.shield(reading)
        reading = asyncio.ensure_future(self._database.read(lambda: self._read(public_id)))
        self._reading[public_id] = reading
        asked = self._clock()
        reading.add_done_callback(lambda done: self._store(public_id, asked, done))
        return await asyncio.shield(reading)

    def _store(
        self, public_id: str, asked: float, done: asyncio.Future[KeySnapshot | None]
    ) -> None:
        self._reading.pop(public_id, None)
        if done.cancelled() or done.exception() is not None:
            return
        self._entries[public_id] = (asked, done.result())
        self._entries.move_to_end(public_id)
        while len(self._entries) > MAX_KEYS:
            self._entries.popitem(last=False)


class Models:
    """The catalog and the prices of this process."""

    def __init__(
        self,
        database: Database,
        *,
        read: Callable[[], Catalog] = catalog_read,
        read_prices: Callable[[], PriceList] = prices_read,
    ) -> None:
        self._database = database
        self._read = read
        self._read_prices = read_prices
        self._lock = asyncio.Lock()
        self._loads = 0
        self._prices_at = -PRICES_S
        self.catalog = Catalog(epoch=-1, models={})
        self.prices = PriceList(())

    async def reload(self) -> None:
        """Read the catalog. A caller never gets a read that began before it asked."""
        ticket = self._loads
        async with self._lock:
            if self._loads > ticket:
                return
            self._loads += 1
            self.catalog = await self._database.read(self._read)
            if time.monotonic() - self._prices_at >= PRICES_S:
                self.prices = await self._database.read(self._read_prices)
                self._prices_at = time.monotonic()

    async def target(self, name: str, key: KeySnapshot) -> CatalogModel:
        """The model a key asked for. An unknown name reads the catalog once, then it is a 404."""
        found = self.catalog.models.get(name)
        if found is None and key.may_use(name):
            await self.reload()
            found = self.catalog.models.get(name)
        if found is None or not key.may_use(name):
            raise ModelNotFound(f"The model {name[:200]!r} does not exist.", param="model")
        return found

    def visible(self, key: KeySnapshot) -> list[CatalogModel]:
        """Base models first, then their adapters; only what the key may use."""
        return [model for model in self.catalog.models.values() if key.may_use(model.name)]
