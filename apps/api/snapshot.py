"""What a web process remembers of keys, models and prices, so that a request asks no database.

Reads run in one small thread pool whose connections are closed after each read. Entries are only
replaced, never changed; admission compares their epochs with Redis and says when one is stale.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import Error, connections

from apps.api.selectors import KeySnapshot, PriceList, key_read, prices_read
from apps.models.catalog import Catalog, CatalogModel
from apps.models.selectors import catalog_read
from engine.errors import ModelNotFound, Overloaded

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_KEYS = 10_000  # and as many ids without a row
MAX_READS = 512  # that run or wait
FORGOTTEN = -math.inf  # when an entry was read that is believed no more
MISS_S = 1.0  # an id without a row is not asked for again within this time


class Database:
    """Runs blocking reads beside the event loop: at most two connections per process."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="pagoda-db")
        self._reads = 0

    async def read(self, function: Callable[[], T]) -> T:
        """Raises `Overloaded` (reason `database`) when the database cannot be asked, or when too
        many already wait for it."""
        if self._reads >= MAX_READS:
            raise _away("Too many requests wait for the database.")
        self._reads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _closing, function)
        except Error as error:
            log.warning("database_away", extra={"cause": type(error).__name__})
            raise _away("The database cannot be reached.") from None
        finally:
            self._reads -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _away(cause: str) -> Overloaded:
    return Overloaded(f"{cause} Try again shortly.", param="database", retry_after_s=2)


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
        self._entries: OrderedDict[str, tuple[float, KeySnapshot]] = OrderedDict()
        # Apart, so that made-up ids never push out a key that is in use.
        self._misses: OrderedDict[str, float] = OrderedDict()
        self._reading: dict[str, asyncio.Future[KeySnapshot | None]] = {}
        self.used: dict[str, float] = {}  # public id → Unix seconds, until it is written down

    def peek(self, public_id: str, max_age_s: float) -> tuple[bool, KeySnapshot | None]:
        """(known, key): the entry if it is young enough."""
        now = self._clock()
        if (entry := self._entries.get(public_id)) is not None:
            return now - entry[0] <= max_age_s, entry[1]
        return now - self._misses.get(public_id, -MISS_S) < MISS_S, None

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
            old = self._entries.get(public_id)
            if admission and old is not None and old[0] > FORGOTTEN:
                return old[1]
            raise

    def forget(self) -> None:
        """Redis lost its epochs, or may not know the newest: believe no entry until it was read
        again. Bans still know whose key is no guess."""
        for public_id, (_, key) in self._entries.items():
            self._entries[public_id] = FORGOTTEN, key

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
        if (key := done.result()) is None:
            self._entries.pop(public_id, None)
            _keep(self._misses, public_id, asked)
        else:
            _keep(self._entries, public_id, (asked, key))


def _keep(entries: OrderedDict[str, T], public_id: str, entry: T) -> None:
    entries[public_id] = entry
    entries.move_to_end(public_id)
    if len(entries) > MAX_KEYS:
        entries.popitem(last=False)


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
        self._failure: Overloaded | None = None  # of the last load
        self.catalog = Catalog(epoch=-1, models={})
        self.prices = PriceList(())

    async def reload(self) -> None:
        """Read the catalog. A caller never gets a read that began before it asked."""
        ticket = self._loads
        async with self._lock:
            if self._loads == ticket:
                await self._load()
        if self._failure is not None:
            raise self._failure

    async def _load(self) -> None:
        self._loads += 1
        self._failure = None
        try:
            self.catalog = await self._database.read(self._read)
        except Overloaded as error:
            self._failure = error

    async def reload_prices(self) -> None:
        """A new price is in force from this read on. Raises `Overloaded`."""
        self.prices = await self._database.read(self._read_prices)

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
