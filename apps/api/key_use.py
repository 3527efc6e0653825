"""How much of their limits keys use right now, read from where admission keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from apps.api.models import ApiKey
from engine import redis_keys

WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One limit of one key. `used` may be above `limit` for a while after the limit was lowered."""

    label: str
    used: int
    limit: int

    @property
    def percent(self) -> int:
        return min(100, round(100 * self.used / self.limit))

    @property
    def tone(self) -> str:
        """A class of the style sheet."""
        return "pg-bad" if self.percent >= 100 else "pg-warn" if self.percent >= 80 else ""


def keys_use(client: redis.Redis, keys: Sequence[ApiKey]) -> dict[int, list[Use]]:
    """The limits of each key by its pk, those that are set. One round trip."""
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for key in keys:
        subject = key.limits_subject
        pipeline.get(redis_keys.limit("rpm", subject))
        pipeline.get(redis_keys.limit("tpm", subject))
        pipeline.zrange(redis_keys.limit("slots", subject), 0, -1, withscores=True)
        pipeline.get(redis_keys.limit("spent", subject))
        pipeline.get(redis_keys.limit("held", subject))
    (seconds, micros), *replies = pipeline.execute()
    now_ms = seconds * 1000 + micros // 1000
    fives = [replies[start : start + 5] for start in range(0, len(replies), 5)]
    return {key.pk: _uses(key, found, now_ms) for key, found in zip(keys, fives, strict=True)}


def _uses(key: ApiKey, found: list[Any], now_ms: int) -> list[Use]:
    rpm, tpm, slots, spent, held = found
    running = sum(deadline > now_ms for _, deadline in slots)
    candidates = (
        ("requests / min", key.rpm, lambda limit: bucket_level(rpm, limit, now_ms)),
        ("tokens / min", key.tpm, lambda limit: bucket_level(tpm, limit, now_ms)),
        ("at once", key.parallel, lambda limit: running),
        ("token budget", key.budget_tokens, lambda limit: int(spent or 0) + int(held or 0)),
    )
    return [
        Use(label=label, used=used(limit), limit=limit)
        for label, limit, used in candidates
        if limit
    ]


def bucket_level(value: bytes | None, limit: int, now_ms: int) -> int:
    """Level of a leaky bucket now, as `bucket_level` of common.lua computes it."""
    if value is None:
        return 0
    level, _, at = value.partition(b":")
    return max(0, round(float(level) - max(0.0, now_ms - float(at)) * limit / WINDOW_MS))
