"""A web process without HTTP: asks until SIGTERM and writes a journal of what it was promised.

Journal lines, each flushed: `ask RID` before admission, `admitted RID` after it, then one outcome:
`whole RID TOKENS`, `left RID` or `error RID`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from typing import TextIO

from engine.client import Admission, EngineClient, LimitRule, StaleSnapshot, new_rid
from engine.errors import PagodaError
from engine.messages import Bill, Delta, QueueBody
from engine.sampling_params import SamplingParams

ASKERS = 12
RULES = tuple(
    LimitRule(kind=kind, subject="key:k", limit=limit)
    for kind, limit in (("rpm", 10**7), ("tpm", 10**9), ("slots", 10**6), ("budget", 10**12))
)


def admission(tokens: int) -> Admission:
    body = QueueBody(
        rid=new_rid(), attempt=0, web="", model="m", prompts=[[1, 2, 3]],
        params=SamplingParams(max_tokens=tokens), deadline_ms=0,
    )  # fmt: skip
    return Admission(
        body=body, lane="high", key_id="k", key_epoch=0, catalog_epoch=0, rules=RULES,
        reserve_tokens=3 + tokens, bill=Bill(key_id="k", model="m"),
    )  # fmt: skip


def count(deltas: list[Delta]) -> int:
    return sum(len(choice.token_ids) for delta in deltas for choice in delta.choices)


async def ask(client: EngineClient, journal: TextIO) -> None:
    def note(line: str) -> None:
        journal.write(line + "\n")
        journal.flush()

    wanted = admission(random.randint(1, 120))
    rid = wanted.body.rid
    note(f"ask {rid}")
    try:
        async with client.submit(wanted) as stream:
            note(f"admitted {rid}")
            style = random.random()
            if style < 0.4:
                note(f"whole {rid} {count(await stream.whole())}")
                return
            deltas: list[Delta] = []
            async for delta in stream:
                deltas.append(delta)
                if style > 0.8 and len(deltas) > 3:
                    note(f"left {rid}")
                    return
            note(f"whole {rid} {count(deltas)}")
    except (PagodaError, StaleSnapshot) as error:
        note(f"error {rid} {type(error).__name__}")
        await asyncio.sleep(0.05)


async def main(redis_url: str, journal_path: str) -> None:
    client = EngineClient(redis_url)
    await client.start()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    async def asker(journal: TextIO) -> None:
        while not stopping.is_set():
            await ask(client, journal)

    with open(journal_path, "a", encoding="ascii") as journal:
        await asyncio.gather(*(asker(journal) for _ in range(ASKERS)))
        await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
