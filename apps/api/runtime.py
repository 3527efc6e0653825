"""Everything a web process shares between requests, made when its event loop starts."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from apps.api import services
from apps.api.bodies import BodyQueue
from apps.api.caps import ApiCaps, ApiSettings
from apps.api.errors import invalid_key
from apps.api.prompts import PromptPool
from apps.api.selectors import KeySnapshot, keys_ended
from apps.api.snapshot import Database, Keyring, Models
from apps.api.writer import ResponseWriter, Watch
from apps.usage.judge import StandIn
from engine.client import ClientSettings, EngineClient
from engine.errors import Overloaded, PagodaError

log = logging.getLogger(__name__)

CARE_S = 2.0  # revoked keys are cut and the outbox of epochs is emptied in this rhythm
USED_S = 60.0  # last_used_at is written at most this often
PRICES_S = 30.0
BODIES_S = 0.5


class WebRuntime:
    """Client of the engines, snapshots, tokenisers, the watch. `start()` and `close()` once."""

    def __init__(
        self,
        redis_url: str,
        *,
        caps: ApiCaps,
        settings: ApiSettings,
        client_settings: ClientSettings,
    ) -> None:
        self.caps = caps
        self.settings = settings
        self.database = Database()
        self.keys = Keyring(self.database)
        self.models = Models(self.database)
        self.bodies = BodyQueue(self.database)
        self.prompts = PromptPool(settings)
        self.watch = Watch(settings)
        self.client = EngineClient(
            redis_url, settings=client_settings, on_redis_back=self.keys.forget
        )
        self._judge = StandIn(redis_url)
        self._streams: dict[ResponseWriter, str] = {}  # open response → its key's public id
        self._tasks: list[asyncio.Task[None]] = []
        self._used_at = 0.0

    async def start(self) -> None:
        """Connect and read the catalog. A database that is away now is asked again on demand."""
        await self.client.start()
        threading.Thread(target=self._judge.run, name="judge", daemon=True).start()
        try:
            # at once, so that both of the database's threads exist from the beginning
            await asyncio.gather(self.models.reload(), self.models.reload_prices())
        except Overloaded:
            log.warning("catalog_unread")
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self.watch.run(), name="watch"),
            loop.create_task(_forever(self._care, CARE_S), name="key-care"),
            loop.create_task(_forever(self.models.reload_prices, PRICES_S), name="prices"),
            loop.create_task(_forever(self.bodies.flush, BODIES_S), name="bodies"),
        ]

    async def close(self) -> None:
        """Abort what is open and give everything back."""
        self._judge.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()
        await self.bodies.flush()
        self.prompts.close()
        self.database.close()

    def opened(self, writer: ResponseWriter, key: KeySnapshot) -> None:
        """A generation runs for this key from now on."""
        self._streams[writer] = key.public_id
        self.watch.add(writer)

    def closed(self, writer: ResponseWriter) -> None:
        self._streams.pop(writer, None)
        self.watch.remove(writer)

    async def _care(self) -> None:
        """Cut running streams of keys that ended, note last uses, publish changed keys."""
        now = time.time()
        if self._streams:
            running = set(self._streams.values())
            for public_id in await self.database.read(partial(keys_ended, running)):
                self._cut(public_id, invalid_key())
        if now - self._used_at >= USED_S and self.keys.used:
            self._used_at = now
            seen, self.keys.used = self.keys.used, {}
            times = {key: datetime.fromtimestamp(at, UTC) for key, at in seen.items()}
            await self.database.read(partial(services.keys_used, seen=times))
        await self.database.read(services.epochs_publish)

    def _cut(self, public_id: str, reason: PagodaError) -> None:
        for writer, owner in list(self._streams.items()):
            if owner == public_id:
                writer.interrupt(reason)


async def _forever(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Repeat; a failure is logged and the next turn tries again."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception as error:
            log.warning("care_failed", extra={"cause": type(error).__name__})
