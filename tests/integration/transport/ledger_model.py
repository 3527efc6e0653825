"""What the Lua scripts should do, written as plain dicts. See engine/lua/README.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WINDOW_MS = 60_000
ZERO = (0, 0, 0, 0, 0, 0)


@dataclass
class Entry:
    attempt: int
    bytes: int
    deadline: int
    reserve: int
    state: str = "queued"
    sid: str = ""
    deaths: int = 0
    owner: str = ""
    cancel: str = ""
    engine: str = ""
    counts: tuple[int, ...] = ZERO


@dataclass
class Limits:
    rpm: int
    tpm: int
    slots: int
    budget: int


@dataclass
class LedgerModel:
    """One key, one queue."""

    limits: Limits
    queue_entries: int
    open: dict[str, Entry] = field(default_factory=dict)
    guards: dict[tuple[str, int], str] = field(default_factory=dict)
    usage: list[tuple[str, str, tuple[int, ...], int, str]] = field(default_factory=list)
    buckets: dict[str, tuple[float, int]] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    checkpoints: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    spent: int = 0
    held: int = 0

    def level(self, kind: str, now: int) -> float:
        level, at = self.buckets.get(kind, (0.0, now))
        limit = getattr(self.limits, kind)
        return max(0.0, level - max(0, now - at) * limit / WINDOW_MS)

    def queued(self) -> list[Entry]:
        return [entry for entry in self.open.values() if entry.state == "queued"]

    def admit(self, rid: str, reserve: int, size: int, deadline: int, now: int) -> list[object]:
        if (rid, 1) in self.guards:
            return ["OK"]
        if refusal := self._refusal(reserve, now):
            return refusal
        if len(self.queued()) >= self.queue_entries:
            return ["BUSY", "queue"]
        for kind, cost in (("rpm", 1), ("tpm", reserve)):
            self.buckets[kind] = (self.level(kind, now) + cost, now)
        self.slots = {key: at for key, at in self.slots.items() if at > now}
        self.slots[rid] = deadline
        self.held += reserve
        self.open[rid] = Entry(1, size, deadline, reserve)
        self.guards[rid, 1] = "?"
        return ["OK"]

    def _refusal(self, reserve: int, now: int) -> list[object] | None:
        limits = self.limits
        for number, (kind, cost) in enumerate((("rpm", 1), ("tpm", reserve)), start=1):
            limit = getattr(limits, kind)
            if kind == "tpm" and cost > limit:
                return ["TOO_LARGE", number]
            over = self.level(kind, now) + cost - limit
            if over > 0:
                return ["LIMIT", number, math.ceil(over * WINDOW_MS / limit)]
        if sum(at > now for at in self.slots.values()) >= limits.slots:
            return ["LIMIT", 3, 1000]
        if reserve > limits.budget:
            return ["TOO_LARGE", 4]
        if self.spent + self.held + reserve > limits.budget:
            return ["LIMIT", 4, 0]
        return None

    def deliver(self, rid: str, engine: str) -> None:
        self.open[rid].owner = engine

    def end(self, rid: str, finish: str, counts: tuple[int, ...], engine: str, now: int) -> None:
        entry = self.open.pop(rid)
        used = counts[0] + counts[2]
        self.buckets["tpm"] = (max(0.0, self.level("tpm", now) - entry.reserve + used), now)
        self.slots.pop(rid, None)
        self.spent += used
        self.held -= entry.reserve
        self.usage.append((rid, finish, counts, entry.attempt, engine))

    def terminal(
        self, rid: str, attempt: int, engine: str, finish: str, counts: tuple[int, ...], now: int
    ) -> int:
        entry = self.open.get(rid)
        if entry is None or entry.attempt != attempt or entry.state != "queued" or not entry.owner:
            return 0
        self.checkpoints.pop((engine, rid), None)
        self.end(rid, finish, counts, engine, now)
        return 1

    def terminal_lost(self, rid: str, attempt: int, now: int) -> int:
        entry = self.open.get(rid)
        if entry is None or entry.attempt != attempt or entry.state != "lost":
            return 0
        self.end(rid, "lost", entry.counts, entry.engine, now)
        return 1

    def terminal_any(self, rid: str, attempt: int, now: int) -> int:
        entry = self.open.get(rid)
        if entry is None or entry.attempt != attempt:
            return 0
        self.end(rid, "lost", entry.counts, entry.engine, now)
        return 1

    def cancel(self, rid: str, now: int) -> str:
        entry = self.open.get(rid)
        if entry is None:
            return "GONE"
        if entry.state == "lost":
            self.end(rid, "cancelled", entry.counts, entry.engine, now)
            return "ENDED"
        if not entry.owner:
            self.end(rid, "cancelled", ZERO, "", now)
            return "ENDED"
        entry.cancel = "cancelled"
        return "TOLD"

    def judge(self, rid: str, attempt: int, engine: str, now: int) -> str:
        entry = self.open.get(rid)
        if entry is None or entry.attempt != attempt or entry.state != "queued":
            return "GONE"
        if entry.owner != engine:
            return "GONE"
        entry.counts = self.checkpoints.pop((engine, rid), ZERO)
        if entry.cancel:
            self.end(rid, entry.cancel, entry.counts, engine, now)
            return "ENDED"
        entry.state, entry.deaths, entry.engine = "lost", entry.deaths + 1, engine
        entry.owner = ""
        return "LOST"

    def requeue(self, rid: str, attempt: int, size: int) -> str:
        if (rid, attempt) in self.guards:
            return "OK"
        entry = self.open.get(rid)
        if entry is None or entry.state != "lost" or entry.attempt != attempt - 1:
            return "GONE"
        if entry.deaths >= 2:
            return "POISON"
        entry.attempt, entry.state, entry.bytes = attempt, "queued", size
        entry.owner, entry.counts, entry.engine = "", ZERO, ""
        self.guards[rid, attempt] = "?"
        return "OK"
