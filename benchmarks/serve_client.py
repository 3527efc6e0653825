"""One process of streamed load: `python -m benchmarks.serve_client JSON`, see `Shard`.

Prints a JSON object: seconds from sending to the first and to the last event of each request, the
wall time from the first request to the last answer, and the share of its core it was busy.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from benchmarks.load import Connection, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """`streams` at once, each asking `per` times, all beginning at `start` (seconds since 1970)."""

    port: int
    key: str
    model: str
    streams: int
    per: int
    tokens_in: int
    tokens_out: int
    seed: int
    start: float

    def dumps(self) -> str:
        return json.dumps(asdict(self))


def request(shard: Shard, draw: random.Random) -> bytes:
    body = {
        "model": shard.model,
        "prompt": [draw.randint(10, 30000) for _ in range(shard.tokens_in)],
        "max_tokens": shard.tokens_out,
        "temperature": 0.0,
        "stream": True,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }
    return Target(port=shard.port, key=shard.key, body=body, path="/v1/completions").raw()


async def load(shard: Shard) -> dict[str, Any]:
    loop, draw = asyncio.get_running_loop(), random.Random(shard.seed)
    requests = [[request(shard, draw) for _ in range(shard.per)] for _ in range(shard.streams)]
    connections = [
        (await loop.create_connection(Connection, "127.0.0.1", shard.port))[1]
        for _ in range(shard.streams)
    ]
    await asyncio.sleep(max(0.0, shard.start - time.time()))
    times: list[tuple[float, float]] = []
    began, busy = time.perf_counter(), time.process_time()

    async def worker(connection: Connection, raws: list[bytes]) -> None:
        for raw in raws:
            reply = await connection.ask(raw)
            if reply.status != 200:
                raise RuntimeError(f"{reply.status} {reply.body[:300]!r}")
            # the last two events are the counts and the end mark
            times.append((reply.events[0][0], reply.events[-1][0]))

    await asyncio.gather(*map(worker, connections, requests))
    wall = time.perf_counter() - began
    return {"times": times, "wall": wall, "cpu": (time.process_time() - busy) / wall}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(Shard(**json.loads(sys.argv[1]))))))
