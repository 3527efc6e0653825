"""Revoking a key, with the time it took until no web process admits it any more."""

from __future__ import annotations

import time

import redis

from apps.api.models import ApiKey
from apps.api.services import Actor, key_revoke
from apps.models.overview import webs_read
from engine import redis_keys
from inference_site.redis import redis_url


def key_revoke_measured(*, key: ApiKey, actor: Actor) -> tuple[str, bool]:
    """Words for the person who asked, and whether the end is in force.

    Every web process admits through one script in Redis that compares the key's epoch: once the
    new epoch is there, none of them can admit the key. That moment is what is measured.
    """
    began = time.monotonic()
    key_revoke(key=key, actor=actor)
    try:
        with redis.Redis.from_url(redis_url(), socket_timeout=2) as client:
            seen = client.hget(redis_keys.KEYS_EPOCH, key.public_id)
            took_s = time.monotonic() - began
            webs = len(webs_read(client))
    except redis.RedisError:
        seen = None
    if seen is None or int(seen) < key.epoch:
        return (
            f"{key.name} is revoked. Redis does not answer: nothing is admitted now, and the key "
            "stays out when it is back.",
            False,
        )
    places = "1 web process" if webs == 1 else f"all {webs} web processes"
    return (
        f"{key.name} is revoked: refused by {places} after {took_s * 1000:.0f} ms. "
        "Its running answers end within seconds.",
        True,
    )
