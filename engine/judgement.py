"""Taking queue entries from an engine that is dead: by the judge, or by its own successor."""

from __future__ import annotations

import redis

from engine import redis_keys, scripts, streams
from engine.messages import WIRE_VERSION, Delta, EventKind, Frame, pack

PAGE = 256


def judge_consumer(client: redis.Redis, queue: str, engine: str) -> int:
    """Every entry `engine` holds becomes `lost`. Returns how many. One script per entry.

    The caller knows that the engine is dead, or is the engine of that name, newly started.
    """
    judged = 0
    while True:
        pending = client.xpending_range(
            queue, redis_keys.QUEUE_GROUP, min="-", max="+", count=PAGE, consumername=engine
        )
        for item in pending:
            _judge_entry(client, queue, engine, scripts.text(item["message_id"]))
        judged += len(pending)
        if len(pending) < PAGE:
            return judged


def _judge_entry(client: redis.Redis, queue: str, engine: str, sid: str) -> None:
    found = streams.entries(client.xrange(queue, sid, sid))
    if not found:  # deleted, yet pending: nothing is left to decide
        client.xack(queue, redis_keys.QUEUE_GROUP, sid)
        return
    _, fields = found[0]
    rid, attempt = fields[b"rid"].decode(), int(fields[b"attempt"])
    delta = Delta(rid=rid, attempt=attempt, seq=0, kind=EventKind.LOST)
    call = scripts.judge(
        queue=queue,
        sid=sid,
        rid=rid,
        attempt=attempt,
        web=fields[b"web"].decode(),
        engine=engine,
        frame=pack(Frame(version=WIRE_VERSION, engine=engine, deltas=[delta])),
    )
    scripts.run(client, call)
