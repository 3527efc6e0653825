"""The way out: web drains, jobs end, engines finish, the settler empties its stream, Redis goes
last."""

from __future__ import annotations

import contextlib
import time

import redis

from engine import redis_keys
from inference_site.config import ServerSettings
from inference_site.launcher.children import Children
from inference_site.launcher.signals import StopSignals
from inference_site.redis import find_redis

GRACE_S = 5.0
SETTLE_LIMIT_S = 15.0


def stop_all(children: Children, settings: ServerSettings, signals: StopSignals) -> None:
    """Returns when no child is left. A second signal turns every wait into a kill."""

    def hurry() -> bool:
        return signals.hurry_asked

    drain_s = settings.shutdown_timeout + GRACE_S
    children.stop("web", within_s=drain_s, hurry=hurry)
    children.stop("worker", within_s=GRACE_S, hurry=hurry)  # a job cut off is done again
    children.stop("agent", within_s=drain_s, hurry=hurry)
    if any(child.running for child in children.named("settler")):
        _wait_for_settled(settings, signals)
    children.stop("settler", within_s=GRACE_S, hurry=hurry)
    children.stop("redis", within_s=GRACE_S, hurry=lambda: False)  # it only writes its file


def _wait_for_settled(settings: ServerSettings, signals: StopSignals) -> None:
    """Until every ended request has its row, or the limit: the stream survives in Redis."""
    limit = time.monotonic() + SETTLE_LIMIT_S
    with (
        contextlib.suppress(redis.RedisError),
        redis.Redis.from_url(find_redis(settings), socket_timeout=2) as client,
    ):
        while client.xlen(redis_keys.USAGE) and not signals.hurry_asked:
            if time.monotonic() > limit:
                return
            time.sleep(0.05)
