"""One blocking Redis connection of a daemon thread, and how long it has been well."""

from __future__ import annotations

import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.logs import event_log

log = event_log(__name__)
STEADY_S = 3.5  # longer than a heartbeat's TTL: after an outage everyone had time to beat again
MAX_BACKOFF_S = 1.0
QUIET_S = 5.0


def connect(url: str) -> redis.Redis:
    """A client without hidden retries: a command whose reply got lost is repeated knowingly."""
    client: redis.Redis = redis.Redis.from_url(
        url, socket_timeout=3, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
    )
    return client


class RedisLink:
    """Counts failures for the backoff; `steady` says whether a missing heartbeat means death."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        self._failures = 0
        self._well_since: float | None = None
        self._logged_at = -QUIET_S

    @property
    def steady(self) -> bool:
        return self._well_since is not None and time.monotonic() - self._well_since > STEADY_S

    def worked(self) -> None:
        self._failures = 0
        if self._well_since is None:
            self._well_since = time.monotonic()

    def failed(self, error: Exception) -> None:
        """Note a failure, log it at most each 5 s, sleep the backoff (up to 1 s)."""
        self._failures += 1
        self._well_since = None
        now = time.monotonic()
        if now - self._logged_at > QUIET_S:
            self._logged_at = now
            log.warning("redis_trouble", cause=f"{type(error).__name__}: {error}")
        time.sleep(min(MAX_BACKOFF_S, 0.02 * 2 ** min(self._failures, 6)))

    def close(self) -> None:
        self.client.close()
