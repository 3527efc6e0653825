"""The books of one installation, compared: customers, rows, sums, Redis."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from engine import redis_keys
from tests.chaos.fleet import MODEL, Fleet

OUTCOMES = ("whole", "told", "cut", "left", "refused")
NEVER = ("wrong", "silent", "hung")
COLUMNS = "client_request_id, rid, status, prompt_tokens, completion_tokens"
SUMS = "sum(requests), sum(prompt_tokens), sum(completion_tokens)"


@dataclass(slots=True)
class Customers:
    """What they were promised: id → tokens of each whole answer, and how often what happened."""

    asked: set[str] = field(default_factory=set)
    accepted: set[str] = field(default_factory=set)
    paid: dict[str, tuple[int, int]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)


def customers_of(fleet: Fleet) -> Customers:
    books = Customers()
    for word, name, *rest in fleet.journal():
        if word == "ask":
            books.asked.add(name)
        elif word == "accepted":
            books.accepted.add(name)
        else:
            books.outcomes[word] += 1
        if word == "whole":
            books.paid[name] = int(rest[0]), int(rest[1])
    return books


def compare(fleet: Fleet) -> dict[str, int]:
    """Counts of everything that happened and of everything that must be 0."""
    customers = customers_of(fleet)
    rows = fleet.query(f"SELECT {COLUMNS} FROM usage_usagerecord")
    named = [row[0] for row in rows if row[0]]  # the driver's own requests have no name
    known = {name: (status, prompt, completion) for name, _, status, prompt, completion in rows}
    tokens = sum(row[3] for row in rows), sum(row[4] for row in rows)
    whole = (len(rows), *tokens)
    return {
        "requests": len(customers.asked),
        "accepted": len(customers.accepted),
        "rows": len(rows),
        **{word: customers.outcomes[word] for word in OUTCOMES},
        "lost": len(customers.accepted - known.keys()),
        "doubled": len(named) - len(set(named)) + len(rows) - len({row[1] for row in rows}),
        "rows nobody asked for": len(set(named) - customers.asked),
        "answers whose row differs": sum(
            known.get(name) != ("ok", *paid) for name, paid in customers.paid.items()
        ),
        "sums that differ from rows": sum(
            tuple(fleet.query(f"SELECT {SUMS} FROM {table}")[0]) != whole
            for table in (
                "usage_usagehour WHERE key_id = ''", "usage_usagehour WHERE key_id <> ''",
                "usage_usageday WHERE key_id = ''", "usage_usageday WHERE key_id <> ''",
            )
        ),
        "tokens the ledger differs by": abs(_spent(fleet) - _charged(fleet)),
        "left in Redis": left(fleet),
        **{f"answers {word}": customers.outcomes[word] for word in NEVER},
    }  # fmt: skip


ZERO = (
    "lost", "doubled", "rows nobody asked for", "answers whose row differs",
    "sums that differ from rows", "tokens the ledger differs by", "left in Redis",
    *(f"answers {word}" for word in NEVER),
)  # fmt: skip


def faults(counts: dict[str, int]) -> dict[str, int]:
    """What should be 0 and is not."""
    return {name: counts[name] for name in ZERO if counts[name]}


def _charged(fleet: Fleet) -> int:
    """Tokens in the rows of the key that has a budget."""
    of_key = "FROM usage_usagerecord WHERE key_name = 'customer'"
    return int(fleet.query(f"SELECT sum(prompt_tokens + completion_tokens) {of_key}")[0][0] or 0)


def _spent(fleet: Fleet) -> int:
    """Tokens the ledger's script charged to the budgets of keys."""
    client = fleet.redis()
    keys = client.scan_iter(redis_keys.limit("spent", "key:*"), count=1000)
    return sum(int(client.get(key) or 0) for key in keys)


def left(fleet: Fleet) -> int:
    """Queue entries, deliveries, holds and slots that nobody owns any more."""
    client = fleet.redis()
    count = 0
    for lane in redis_keys.LANES:
        queue = redis_keys.queue(MODEL, lane)
        count += client.xlen(queue)
        count += client.xpending(queue, redis_keys.QUEUE_GROUP)["pending"]
    for key in client.scan_iter(redis_keys.limit("held", "*"), count=1000):
        count += int(client.get(key) or 0)
    for key in client.scan_iter(redis_keys.limit("slots", "*"), count=1000):
        count += client.zcard(key)
    return count
