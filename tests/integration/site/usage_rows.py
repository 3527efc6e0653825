"""Usage rows with their sums, stored as the settler stores them."""

from __future__ import annotations

import datetime as dt
import random

from apps.usage.models import UsageRecord
from apps.usage.store import rows_add

KEYS = {
    "kaaaaaaa": ("ci", "901", "alice"),
    "kbbbbbbb": ("app", "902", "bob"),
    "kccccccc": ("=SUM(A1)", "902", "bob"),
}


def made_rows(now: dt.datetime, count: int, days: int = 7, seed: int = 1) -> list[UsageRecord]:
    """`count` requests spread over the last `days`, of three keys, two models and one adapter."""
    draw = random.Random(seed)
    rows = []
    for n in range(count):
        key_id = draw.choice(list(KEYS))
        name, owner_id, owner = KEYS[key_id]
        model = draw.choice(["base", "large"])
        status, finish = draw.choice(
            [("ok", "stop")] * 6 + [("cancelled", "cancelled"), ("error", "error")]
        )
        tokens = draw.randrange(0 if status == "error" else 1, 200)
        ttft = draw.randrange(1, 3000)
        at = now - dt.timedelta(seconds=draw.randrange(days * 86_400))
        rows.append(
            UsageRecord(
                rid=f"req-{seed}-{n}", settled_at=at + dt.timedelta(seconds=1), ended_at=at,
                key_id=key_id, key_name=name, owner_id=owner_id, owner_name=owner, model=model,
                adapter=draw.choice(["", "pirate"]) if model == "base" else "",
                route="/v1/chat/completions", status=status, finish=finish, engine="e",
                prompt_tokens=100, cached_tokens=draw.choice([0, 64]), completion_tokens=tokens,
                queue_ms=draw.randrange(50), ttft_ms=ttft if tokens else 0,
                total_ms=ttft + 20 * tokens, micros=draw.randrange(5000),
            )
        )  # fmt: skip
    return rows


def stored_rows(now: dt.datetime, count: int, days: int = 7, seed: int = 1) -> list[UsageRecord]:
    rows = made_rows(now, count, days, seed)
    rows_add(rows)
    return rows
