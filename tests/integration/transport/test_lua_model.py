"""T-10: random sequences of script calls against a dict. Every figure in Redis must agree.

LEDGER_SEED repeats the traces. They are drawn here, for Hypothesis' rule machine left `deliver` out
of nearly all its runs; the test says what must have happened in them.
"""

from __future__ import annotations

import os
import random

import msgspec
import pytest
import redis

from engine import redis_keys, scripts, streams
from engine.messages import (
    Bill,
    Control,
    ControlKind,
    Counts,
    Finish,
    QueueBody,
    UsageEvent,
    pack,
    unpack,
)
from engine.sampling_params import SamplingParams
from tests.integration.transport.ledger_model import LedgerModel, Limits

QUEUE = redis_keys.queue("m", "high")
LIMITS = Limits(rpm=8, tpm=200, slots=5, budget=500)
SUBJECT = "key:k"
RUNS, MOST_RUNS, STEPS = 25, 100, 60  # more than RUNS only until every outcome was seen
OFF = (0, 0, 0, 0, -1, 1)  # now and then a call about another attempt
OUTCOMES = {
    "admit": {"OK", "LIMIT", "TOO_LARGE", "BUSY"},
    "engine_ends": {0, 1},
    "others_end": {0, 1},
    "cancel": {"GONE", "TOLD", "ENDED"},
    "judge": {"GONE", "ENDED", "LOST"},
    "requeue": {"OK", "GONE", "POISON"},
}
START_MS = 1_700_000_000_000


class Trace:
    """One random sequence; `seen` collects every outcome of every script."""

    def __init__(
        self, client: redis.Redis, rng: random.Random, seen: dict[str, set[object]]
    ) -> None:
        client.flushall()
        client.xgroup_create(QUEUE, redis_keys.QUEUE_GROUP, id="0", mkstream=True)
        client.set(redis_keys.EPOCH, "epoch")
        self.client, self.rng, self.seen = client, rng, seen
        self.now, self.rids = START_MS, 0
        self.model = LedgerModel(LIMITS, queue_entries=4)

    def run(self, steps: int) -> None:
        kinds = (
            self.time_passes, self.admit, self.deliver, self.checkpoint, self.engine_ends,
            self.others_end, self.cancel, self.judge, self.requeue,
        )  # fmt: skip
        for kind in self.rng.choices(kinds, weights=(2, 8, 5, 3, 3, 2, 2, 5, 5), k=steps):
            kind()
            self.redis_agrees()

    def call(self, call: scripts.Call) -> object:
        """Run a script at the test's clock."""
        clocked = scripts.Call(call.script, call.keys, (*call.args[:-1], str(self.now)))
        reply = scripts.run(self.client, clocked)
        if isinstance(reply, list):
            return [scripts.text(part) if isinstance(part, bytes) else part for part in reply]
        return scripts.text(reply) if isinstance(reply, bytes) else reply

    def same(self, script: str, reply: object, wanted: object) -> None:
        assert reply == wanted
        self.seen.setdefault(script, set()).add(wanted)

    def one(self, state: str = "") -> str:
        """An open request, of `state` if there is one; now and then one that is not open."""
        fitting = [rid for rid, entry in self.model.open.items() if entry.state == state]
        rids = fitting or [*self.model.open]
        if not rids or self.rng.random() < 0.1:
            return f"new{self.rng.randrange(self.rids + 5)}"
        return self.rng.choice(rids)

    def counts(self) -> tuple[int, ...]:
        return self.rng.randrange(20), 0, self.rng.randrange(30), 1, 2, 3

    def body(self, rid: str, attempt: int) -> QueueBody:
        return QueueBody(
            rid=rid, attempt=attempt, web="w", model="m", prompts=[[1, 2]],
            params=SamplingParams(), deadline_ms=self.now + 30_000,
        )  # fmt: skip

    def time_passes(self) -> None:
        self.now += self.rng.randrange(40) * 1000

    def admit(self) -> None:
        reserve = self.rng.choice((1, 10, 10, 60, 201, 501))
        rid = self.one() if self.rng.random() < 0.2 else f"new{self.rids}"
        self.rids += 1
        body = self.body(rid, 1)
        args = scripts.AdmitArgs(
            rid=rid, attempt=1, web="w", key_id="k", key_epoch=0, catalog_epoch=0, epoch="epoch",
            rules=[
                (kind, *scripts.rule_keys(kind, SUBJECT), getattr(LIMITS, kind))
                for kind in ("rpm", "tpm", "slots", "budget")
            ],
            reserve=reserve, deadline=body.deadline_ms, queue_entries=4, queue_bytes=10**6,
            usage_entries=10**6,
        )  # fmt: skip
        reply = self.call(scripts.admit(args, QUEUE, body, Bill(key_id="k")))
        wanted = self.model.admit(rid, reserve, len(pack(body)), body.deadline_ms, self.now)
        assert reply[: len(wanted)] == wanted
        self.seen.setdefault("admit", set()).add(wanted[0])
        if wanted == ["OK"]:
            self.check_left(reply[3:])

    def check_left(self, left: list[int]) -> None:
        model = self.model
        assert left[0] == int(max(0, LIMITS.rpm - model.level("rpm", self.now)))
        assert left[2] == int(max(0, LIMITS.tpm - model.level("tpm", self.now)))
        busy = sum(at > self.now for at in model.slots.values())
        assert left[4] == max(0, LIMITS.slots - busy)
        assert left[6] == LIMITS.budget - model.spent - model.held

    def deliver(self) -> None:
        engine, count = self.rng.choice(("e1", "e2")), self.rng.randrange(1, 4)
        reply = self.client.xreadgroup(redis_keys.QUEUE_GROUP, engine, {QUEUE: ">"}, count=count)
        for _, fields in streams.by_stream(reply).get(QUEUE, []):
            rid = fields[b"rid"].decode()
            assert int(fields[b"attempt"]) == self.model.open[rid].attempt
            self.model.deliver(rid, engine)

    def checkpoint(self) -> None:
        rid, counts = self.one(), self.counts()
        entry = self.model.open.get(rid)
        if entry is not None and entry.owner:
            key = redis_keys.checkpoint(entry.owner)
            self.client.hset(key, rid, msgspec.msgpack.encode(Counts(*counts)))
            self.model.checkpoints[entry.owner, rid] = counts

    def engine_ends(self) -> None:
        rid, counts = self.one(), self.counts()
        attempt, owner = self.attempt(rid) + self.rng.choice(OFF), self.owner(rid)
        call = scripts.terminal(
            scripts.Ending(
                rid=rid, attempt=attempt, web="w", finish=Finish.STOP, who="owner",
                sid=self.sid(rid), engine=owner, counts=Counts(*counts), frame=b"end",
            )
        )  # fmt: skip
        wanted = self.model.terminal(rid, attempt, owner, "stop", counts, self.now)
        self.same("engine_ends", self.call(call), wanted)
        assert self.call(call) == 0  # whoever repeats it

    def others_end(self) -> None:
        who: scripts.Who = self.rng.choice(("lost", "lost", "lost", "any"))
        rid = self.one("lost")
        attempt = self.attempt(rid) + self.rng.choice(OFF)
        end = scripts.Ending(rid=rid, attempt=attempt, web="w", finish=Finish.LOST, who=who)
        wanted = self.model.terminal_lost if who == "lost" else self.model.terminal_any
        reply = self.call(scripts.terminal(end))
        self.same("others_end", reply, wanted(rid, attempt, self.now))

    def cancel(self) -> None:
        rid = self.one()
        control = Control(kind=ControlKind.ABORT, rid=rid, attempt=1)
        call = scripts.cancel(rid, control, Finish.CANCELLED)
        self.same("cancel", self.call(call), self.model.cancel(rid, self.now))

    def judge(self) -> None:
        rid = self.one("queued")
        if rid not in self.model.open:  # the judge only knows pending entries
            return
        attempt, engine = self.attempt(rid), self.owner(rid)
        call = scripts.judge(
            queue=QUEUE, sid=self.sid(rid), rid=rid, attempt=attempt, web="w", engine=engine,
            frame=b"lost",
        )  # fmt: skip
        self.same("judge", self.call(call), self.model.judge(rid, attempt, engine, self.now))

    def requeue(self) -> None:
        rid = self.one("lost")
        attempt = max(2, self.attempt(rid) + 1 + self.rng.choice(OFF))
        body = self.body(rid, attempt)
        for _ in range(2):
            reply = self.call(scripts.requeue(body, Bill(key_id="k")))
            self.same("requeue", reply[0], self.model.requeue(rid, attempt, len(pack(body))))

    def attempt(self, rid: str) -> int:
        return self.model.open[rid].attempt if rid in self.model.open else 1

    def owner(self, rid: str) -> str:
        return (rid in self.model.open and self.model.open[rid].owner) or "e1"

    def sid(self, rid: str) -> str:
        packed = self.client.hget(redis_keys.OPEN, rid)
        return scripts.read_entry(packed).sid if packed else "1-1"

    def redis_agrees(self) -> None:
        pipeline = self.client.pipeline(transaction=False)
        pipeline.hgetall(redis_keys.OPEN).xlen(QUEUE).xpending(QUEUE, redis_keys.QUEUE_GROUP)
        pipeline.get(redis_keys.queue_bytes(QUEUE)).xrange(redis_keys.USAGE)
        for kind in ("spent", "held", "rpm", "tpm"):
            pipeline.get(redis_keys.limit(kind, SUBJECT))
        pipeline.zrange(redis_keys.limit("slots", SUBJECT), 0, -1)
        pipeline.hgetall(redis_keys.checkpoint("e1")).hgetall(redis_keys.checkpoint("e2"))
        ledger, entries, pending, size, usage, *limits, of_e1, of_e2 = pipeline.execute()
        saved = {("e1", rid.decode()) for rid in of_e1} | {("e2", rid.decode()) for rid in of_e2}
        assert saved == self.model.checkpoints.keys()
        self.ledger_agrees(ledger)
        queued = self.model.queued()
        assert entries == len(queued)
        assert pending["pending"] == sum(bool(entry.owner) for entry in queued)
        assert int(size or 0) == sum(entry.bytes for entry in queued)
        self.limits_agree(*limits)
        self.usage_agrees(usage)

    def ledger_agrees(self, packed: dict[bytes, bytes]) -> None:
        ledger = {rid.decode(): scripts.read_entry(value) for rid, value in packed.items()}
        assert ledger.keys() == self.model.open.keys()
        for rid, entry in ledger.items():
            wanted = self.model.open[rid]
            assert (entry.attempt, entry.state, entry.deaths, entry.cancel) == (
                wanted.attempt, wanted.state, wanted.deaths, wanted.cancel,
            )  # fmt: skip

    def limits_agree(
        self, spent: bytes | None, held: bytes | None, rpm: bytes | None, tpm: bytes | None,
        slots: list[bytes],
    ) -> None:  # fmt: skip
        assert (int(spent or 0), int(held or 0)) == (self.model.spent, self.model.held)
        assert {rid.decode() for rid in slots} == self.model.slots.keys()
        for kind, stored in (("rpm", rpm), ("tpm", tpm)):
            level = float(stored.split(b":")[0]) if stored else 0.0
            assert level == pytest.approx(self.model.buckets.get(kind, (0.0, 0))[0], abs=1e-6)

    def usage_agrees(self, entries: list[streams.Entry]) -> None:
        events = [unpack(UsageEvent, fields[b"e"]) for _, fields in entries]
        assert [
            (e.rid, e.finish.value, msgspec.structs.astuple(e.counts), e.attempts, e.engine)
            for e in events
        ] == self.model.usage
        assert all(event.bill == {"key_id": "k"} for event in events)


def test_scripts_agree_with_the_model(redis_url):
    seed = int(os.environ.get("LEDGER_SEED", random.randrange(10**6)))
    print(f"LEDGER_SEED={seed}")  # noqa: T201 (shown when the test fails)
    rng, seen = random.Random(seed), {}
    with redis.Redis.from_url(redis_url) as client:
        for traces in range(MOST_RUNS):
            if traces >= RUNS and seen == OUTCOMES:
                break
            Trace(client, rng, seen).run(STEPS)
    assert seen == OUTCOMES  # nothing is proved about what never happened
