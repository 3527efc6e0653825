"""Taking queue entries from an engine that is dead: by the judge, or by its own successor."""

from __future__ import annotations

import redis

from engine import redis_keys, scripts, streams
from engine.messages import Delta, EventKind, Frame, pack

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
    header = streams.queue_header(found[0][1]) if found else None
    if header is None:  # deleted, yet pending, or junk: nothing is left to decide
        client.xack(queue, redis_keys.QUEUE_GROUP, sid)
        client.xdel(queue, sid)
        return
    delta = Delta(rid=header.rid, attempt=header.attempt, seq=0, kind=EventKind.LOST)
    call = scripts.judge(
        queue=queue,
        sid=sid,
        rid=header.rid,
        attempt=header.attempt,
        web=header.web,
        engine=engine,
        frame=pack(Frame(engine=engine, deltas=[delta])),
    )
    scripts.run(client, call)
