"""How much of their limits keys use right now, read from where admission keeps it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from apps.api.models import BUDGETS, LIMITS, ApiKey
from engine.scripts import rule_keys

WINDOW_MS = 60_000
LABELS = {
    "rpm": "requests / min",
    "tpm": "tokens / min",
    "parallel": "at once",
    "budget_tokens": "token budget",
    "tokens_per_day": "tokens / day",
    "tokens_per_month": "tokens / month",
    "micros_per_day": "money / day, in millionths",
    "micros_per_month": "money / month, in millionths",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One limit of one key. `used` may be above `limit` for a while after the limit was lowered."""

    label: str
    used: int
    limit: int
    budget: str = ""  # in words, of a limit that only time or an operator ends

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
    wanted = [(key, name) for key in keys for name in LIMITS if getattr(key, name)]
    for key, name in wanted:
        kind, period = LIMITS[name]
        first, second = rule_keys(kind, key.limits_subject, period, time.time())
        if kind == "slots":
            pipeline.zrange(first, 0, -1, withscores=True)
        else:
            pipeline.mget(first, second or first)
    (seconds, micros), *replies = pipeline.execute()
    now_ms = seconds * 1000 + micros // 1000
    found: dict[int, list[Use]] = {key.pk: [] for key in keys}
    for (key, name), reply in zip(wanted, replies, strict=True):
        limit = getattr(key, name)
        used = _used(name, reply, limit, now_ms)
        budget = budget_words(name, limit) if name in BUDGETS else ""
        found[key.pk].append(Use(label=LABELS[name], used=used, limit=limit, budget=budget))
    return found


def budget_words(name: str, limit: int) -> str:
    """2,000 tokens a day."""
    kind, period = LIMITS[name]
    amount = f"{limit / 1e6:,.2f} of money" if kind == "money" else f"{limit:,} tokens"
    return f"{amount} a {period}" if period else amount


def _used(name: str, reply: Any, limit: int, now_ms: int) -> int:
    if name == "parallel":
        return sum(deadline > now_ms for _, deadline in reply)
    if name in BUDGETS:
        return sum(int(part or 0) for part in reply)
    return bucket_level(reply[0], limit, now_ms)


def bucket_level(value: bytes | None, limit: int, now_ms: int) -> int:
    """Level of a leaky bucket now, as `bucket_level` of common.lua computes it."""
    if value is None:
        return 0
    level, _, at = value.partition(b":")
    return max(0, round(float(level) - max(0.0, now_ms - float(at)) * limit / WINDOW_MS))
