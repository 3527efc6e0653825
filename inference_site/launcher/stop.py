"""The way out: web turns callers away and drains, jobs end, engines finish, the settler empties
its stream, Redis goes last."""

from __future__ import annotations

import contextlib
import signal
import time
from socket import socket

import redis

from engine import redis_keys
from inference_site.config import ServerSettings
from inference_site.launcher.children import Children
from inference_site.launcher.listener import stop_accepting, waiting
from inference_site.launcher.signals import StopSignals
from inference_site.redis import find_redis

GRACE_S = 5.0
SETTLE_LIMIT_S = 15.0
HANDSHAKE_S = 0.5  # who began to connect has done so by then
LAST_ACCEPTED_S = 5.0  # a web process that gets no processor time accepts late


def stop_all(
    children: Children, listener: socket, settings: ServerSettings, signals: StopSignals
) -> None:
    """Returns when no child is left. A second signal turns every wait into a kill."""
    if settings.lame_duck:
        _turn_away(children, listener, settings.lame_duck, signals)
    listener.close()  # no process accepts from here on: clients get a refusal at once

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


def _turn_away(children: Children, listener: socket, within_s: int, signals: StopSignals) -> None:
    """Answer everybody for `within_s` seconds more, unready; then let nobody else connect."""
    for child in children.named("web"):
        child.signal(signal.SIGUSR1)
    _wait(within_s, signals)
    stop_accepting(listener)
    limit = time.monotonic() + LAST_ACCEPTED_S
    _wait(HANDSHAKE_S, signals)
    while waiting(listener) and not signals.hurry_asked and time.monotonic() < limit:
        _wait(0.05, signals)


def _wait(seconds: float, signals: StopSignals) -> None:
    """That long, or until a second signal."""
    limit = time.monotonic() + seconds
    while not signals.hurry_asked and (left_s := limit - time.monotonic()) > 0:
        signals.wait(left_s)


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
