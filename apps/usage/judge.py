"""Decides that an engine is dead, and takes its requests from it. One judge at a time.

Dead: no heartbeat, or work and no step for `HUNG_MS`. After an outage of Redis nobody is judged
until everyone had time to beat again. Settle processes judge; while none of them lives, web
processes stand in: their clients wait for the answers.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from apps.usage.reconcile import Reconciler
from engine import redis_keys, scripts
from engine.judgement import judge_consumer
from engine.logs import event_log
from engine.messages import EngineBeat, WireMismatch, unpack
from engine.redis_link import RedisLink

log = event_log(__name__)
HUNG_MS = 10_000
LOCK_MS = 5000
LOOK_EVERY_S = 1
RECONCILE_EVERY_S = 30.0
FREE_S = 2.0  # nobody holds the lock for so long: no settle process lives


class Judge:
    """Runs in a thread of every settle process; the lock lets one of them act."""

    def __init__(self, redis_url: str, *, reconcile_every_s: float = RECONCILE_EVERY_S) -> None:
        self._link = RedisLink(redis_url)
        self._token = secrets.token_hex(8)
        self._reconciler = Reconciler(self._link)
        self._every_s = reconcile_every_s
        self._reconcile_at = 0.0
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._turn()
                self._link.worked()
            except (RedisError, OSError) as error:
                self._link.failed(error)
            except Exception as error:  # the others need their judge whatever one entry holds
                log.exception("judge_failed")
                self._link.failed(error)
        self._release()

    def _turn(self) -> None:
        if not self._hold_lock():
            self._stopped.wait(LOOK_EVERY_S)
            return
        self.look(self._await_news())
        self._reconcile()

    def _reconcile(self) -> None:
        if time.monotonic() >= self._reconcile_at and self._link.steady:
            self._reconcile_at = time.monotonic() + self._every_s
            self._reconciler.run()

    def look(self, buried: str = "") -> int:
        """Judge every engine that holds entries and is dead. Returns how many entries.

        `buried` is the id of an engine whose parent saw it die: no heartbeat needs to be missed.
        """
        client = self._link.client
        judged = 0
        for name in client.smembers(redis_keys.QUEUES):
            queue = scripts.text(name)
            for engine in self._holders(client, queue):
                if engine == buried or self._is_dead(client, engine):
                    count = judge_consumer(client, queue, engine)
                    log.warning("engine_judged", engine=engine, queue=queue, requests=count)
                    judged += count
        return judged

    def _await_news(self) -> str:
        """Sleep a second, or until an engine's parent reports its death."""
        news = self._link.client.blpop([redis_keys.JUDGE_WAKE], timeout=LOOK_EVERY_S)
        return scripts.text(news[1]) if news else ""

    def _holders(self, client: redis.Redis, queue: str) -> list[str]:
        try:
            summary = client.xpending(queue, redis_keys.QUEUE_GROUP)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            return []
        return [scripts.text(consumer["name"]) for consumer in summary["consumers"]]

    def _is_dead(self, client: redis.Redis, engine: str) -> bool:
        packed: Any = client.get(redis_keys.engine_beat(engine))
        if packed is None:
            return self._link.steady
        try:
            beat = unpack(EngineBeat, packed)
        except WireMismatch:
            return False  # another version that is alive: its own judge knows more
        return beat.step_age_ms > HUNG_MS

    def _hold_lock(self) -> bool:
        """Take or renew the lock. Not atomic on purpose: two judges do no harm, each entry's
        script lets one of them win; the lock only saves work."""
        client = self._link.client
        if client.set(redis_keys.JUDGE_LOCK, self._token, nx=True, px=LOCK_MS):
            return True
        held = client.get(redis_keys.JUDGE_LOCK)
        if held is None or scripts.text(held) != self._token:
            return False
        client.pexpire(redis_keys.JUDGE_LOCK, LOCK_MS)
        return True

    def _release(self) -> None:
        try:
            if self._hold_lock():
                self._link.client.delete(redis_keys.JUDGE_LOCK)
        except (RedisError, OSError):
            pass  # it expires by itself
        self._link.close()


class StandIn(Judge):
    """The judge of a web process. It takes only a lock that nobody wants, and gives it back after
    each look, so that a settle process gets it as soon as there is one."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url)
        self._taken_at = time.monotonic()  # when somebody was last seen to hold the lock

    def _turn(self) -> None:
        now = time.monotonic()
        if self._link.client.exists(redis_keys.JUDGE_LOCK):
            self._taken_at = now
        elif now - self._taken_at > FREE_S and self._hold_lock():
            self.look()
            self._reconcile()
            self._link.client.delete(redis_keys.JUDGE_LOCK)
        self._stopped.wait(LOOK_EVERY_S)

    def _release(self) -> None:
        self._link.close()
