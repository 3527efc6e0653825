"""T-10: random sequences of script calls against a dict. Every figure in Redis must agree."""

from __future__ import annotations

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

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
LIMITS = Limits(rpm=6, tpm=200, slots=4, budget=500)
SUBJECT = "key:k"
RIDS = st.sampled_from([f"r{i}" for i in range(6)])
ENGINES = st.sampled_from(["e1", "e2"])
COUNTS = st.builds(
    lambda prompt, made: (prompt, 0, made, 1, 2, 3), st.integers(0, 20), st.integers(0, 30)
)
START_MS = 1_700_000_000_000


class LedgerMachine(RuleBasedStateMachine):
    client: redis.Redis  # set by the test

    @initialize()
    def empty(self) -> None:
        self.client.flushall()
        self.now = START_MS
        self.model = LedgerModel(LIMITS, queue_entries=5)
        self.client.xgroup_create(QUEUE, redis_keys.QUEUE_GROUP, id="0", mkstream=True)
        self.client.set(redis_keys.EPOCH, "epoch")

    def call(self, call: scripts.Call) -> object:
        """Run a script at the test's clock; every call is made twice now and then elsewhere."""
        clocked = scripts.Call(call.script, call.keys, (*call.args[:-1], str(self.now)))
        reply = scripts.run(self.client, clocked)
        if isinstance(reply, list):
            return [scripts.text(part) if isinstance(part, bytes) else part for part in reply]
        return scripts.text(reply) if isinstance(reply, bytes) else reply

    def body(self, rid: str, attempt: int) -> QueueBody:
        return QueueBody(
            rid=rid, attempt=attempt, web="w", model="m", prompts=[[1, 2]],
            params=SamplingParams(), deadline_ms=self.now + 30_000,
        )  # fmt: skip

    @rule(seconds=st.integers(0, 40))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule(rid=RIDS, reserve=st.sampled_from([1, 10, 60, 201, 501]))
    def admit(self, rid: str, reserve: int) -> None:
        body = self.body(rid, 1)
        args = scripts.AdmitArgs(
            rid=rid, attempt=1, web="w", key_id="k", key_epoch=0, catalog_epoch=0, epoch="epoch",
            rules=[
                (kind, *scripts.rule_keys(kind, SUBJECT), getattr(LIMITS, kind))
                for kind in ("rpm", "tpm", "slots", "budget")
            ],
            reserve=reserve, deadline=body.deadline_ms, queue_entries=5, queue_bytes=10**6,
            usage_entries=10**6,
        )  # fmt: skip
        reply = self.call(scripts.admit(args, QUEUE, body, Bill(key_id="k")))
        wanted = self.model.admit(rid, reserve, len(pack(body)), body.deadline_ms, self.now)
        assert reply[: len(wanted)] == wanted
        if wanted == ["OK"]:
            self.check_left(reply[3:])

    def check_left(self, left: list[int]) -> None:
        model = self.model
        assert left[0] == int(max(0, LIMITS.rpm - model.level("rpm", self.now)))
        assert left[2] == int(max(0, LIMITS.tpm - model.level("tpm", self.now)))
        busy = sum(at > self.now for at in model.slots.values())
        assert left[4] == max(0, LIMITS.slots - busy)
        assert left[6] == LIMITS.budget - model.spent - model.held

    @rule(engine=ENGINES, count=st.integers(1, 3))
    def deliver(self, engine: str, count: int) -> None:
        reply = self.client.xreadgroup(redis_keys.QUEUE_GROUP, engine, {QUEUE: ">"}, count=count)
        for _, fields in streams.by_stream(reply).get(QUEUE, []):
            rid = fields[b"rid"].decode()
            assert int(fields[b"attempt"]) == self.model.open[rid].attempt
            self.model.deliver(rid, engine)

    @rule(rid=RIDS, counts=COUNTS)
    def checkpoint(self, rid: str, counts: tuple[int, ...]) -> None:
        entry = self.model.open.get(rid)
        if entry is not None and entry.owner:
            key = redis_keys.checkpoint(entry.owner)
            self.client.hset(key, rid, msgspec.msgpack.encode(Counts(*counts)))
            self.model.checkpoints[entry.owner, rid] = counts

    @rule(rid=RIDS, attempt=st.integers(1, 3), counts=COUNTS, twice=st.booleans())
    def engine_ends(self, rid: str, attempt: int, counts: tuple[int, ...], twice: bool) -> None:
        entry = self.model.open.get(rid)
        owner = entry.owner if entry and entry.owner else "e1"
        call = scripts.terminal(
            scripts.Ending(
                rid=rid, attempt=attempt, web="w", finish=Finish.STOP, who="owner",
                sid=self.sid(rid), engine=owner, counts=Counts(*counts), frame=b"end",
            )
        )  # fmt: skip
        assert self.call(call) == self.model.terminal(rid, attempt, owner, "stop", counts, self.now)
        if twice:
            assert self.call(call) == 0

    @rule(rid=RIDS, attempt=st.integers(1, 3), who=st.sampled_from(["lost", "any"]))
    def others_end(self, rid: str, attempt: int, who: scripts.Who) -> None:
        end = scripts.Ending(rid=rid, attempt=attempt, web="w", finish=Finish.LOST, who=who)
        wanted = self.model.terminal_lost if who == "lost" else self.model.terminal_any
        assert self.call(scripts.terminal(end)) == wanted(rid, attempt, self.now)

    @rule(rid=RIDS)
    def cancel(self, rid: str) -> None:
        control = Control(kind=ControlKind.ABORT, rid=rid, attempt=1)
        call = scripts.cancel(rid, control, Finish.CANCELLED)
        assert self.call(call) == self.model.cancel(rid, self.now)

    @rule(rid=RIDS, attempt=st.integers(1, 3))
    def judge(self, rid: str, attempt: int) -> None:
        entry = self.model.open.get(rid)
        if entry is None or entry.attempt != attempt:  # the judge only knows pending entries
            return
        engine = entry.owner or "e1"
        call = scripts.judge(
            queue=QUEUE, sid=self.sid(rid), rid=rid, attempt=attempt, web="w", engine=engine,
            frame=b"lost",
        )  # fmt: skip
        assert self.call(call) == self.model.judge(rid, attempt, engine, self.now)

    @rule(rid=RIDS, attempt=st.integers(2, 3))
    def requeue(self, rid: str, attempt: int) -> None:
        body = self.body(rid, attempt)
        reply = self.call(scripts.requeue(body, Bill(key_id="k")))
        assert reply[0] == self.model.requeue(rid, attempt, len(pack(body)))

    def sid(self, rid: str) -> str:
        packed = self.client.hget(redis_keys.OPEN, rid)
        return scripts.read_entry(packed).sid if packed else "1-1"

    @invariant()
    def redis_agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        client, model = self.client, self.model
        ledger = {
            rid.decode(): scripts.read_entry(packed)
            for rid, packed in client.hgetall(redis_keys.OPEN).items()
        }
        assert ledger.keys() == model.open.keys()
        for rid, entry in ledger.items():
            wanted = model.open[rid]
            assert (entry.attempt, entry.state, entry.deaths, entry.cancel) == (
                wanted.attempt, wanted.state, wanted.deaths, wanted.cancel,
            )  # fmt: skip
        assert client.xlen(QUEUE) == len(model.queued())
        owned = sum(bool(entry.owner) for entry in model.queued())
        assert client.xpending(QUEUE, redis_keys.QUEUE_GROUP)["pending"] == owned
        waiting_bytes = int(client.get(redis_keys.queue_bytes(QUEUE)) or 0)
        assert waiting_bytes == sum(entry.bytes for entry in model.queued())
        self.limits_agree()
        self.usage_agrees()

    def limits_agree(self) -> None:
        def figure(kind: str) -> int:
            return int(self.client.get(redis_keys.limit(kind, SUBJECT)) or 0)

        assert (figure("spent"), figure("held")) == (self.model.spent, self.model.held)
        slots = {rid.decode() for rid in self.client.zrange(f"pgd:lim:slots:{SUBJECT}", 0, -1)}
        assert slots == self.model.slots.keys()
        for kind in ("rpm", "tpm"):
            stored = self.client.get(redis_keys.limit(kind, SUBJECT))
            level = float(stored.split(b":")[0]) if stored else 0.0
            assert level == pytest.approx(self.model.buckets.get(kind, (0.0, 0))[0], abs=1e-6)

    def usage_agrees(self) -> None:
        events = [unpack(UsageEvent, f[b"e"]) for _, f in self.client.xrange(redis_keys.USAGE)]
        assert [
            (e.rid, e.finish.value, msgspec.structs.astuple(e.counts), e.attempts, e.engine)
            for e in events
        ] == self.model.usage
        assert all(event.bill == {"key_id": "k"} for event in events)


def test_scripts_agree_with_the_model(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        LedgerMachine.client = client
        run_state_machine_as_test(
            LedgerMachine,
            settings=settings(
                max_examples=60,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
