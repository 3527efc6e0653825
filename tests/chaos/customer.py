"""Customers that keep books of their own: `python -m tests.chaos.customer URL JOURNAL SEED`.

They ask over HTTP until SIGTERM, never twice for the same thing. Journal lines, each flushed:
`ask ID` before anything is sent, `accepted ID` when the status is 200, then one outcome:
`whole ID PROMPT COMPLETION` (the answer's `usage`), `told ID` (an error event, no [DONE]), `cut ID`
(the connection broke), `left ID` (the customer went), `refused ID STATUS`, or what must never be:
`wrong ID STATUS`, `silent ID` (an end without [DONE] or error), `hung ID`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import suppress
from typing import Any, TextIO

import aiohttp

ASKERS = 48
PATIENCE_S = 120
REFUSALS = (429, 502, 503)  # limits and queue; an engine lost for good; Redis away, shutting down


class Customer:
    """`ask` again and again; `stopping` ends it."""

    def __init__(self, session: aiohttp.ClientSession, journal: TextIO, rng: random.Random) -> None:
        self.stopping = asyncio.Event()
        self._session, self._journal, self._rng = session, journal, rng
        self._asked = 0

    def note(self, *words: object) -> None:
        self._journal.write(" ".join(map(str, words)) + "\n")
        self._journal.flush()

    async def run(self) -> None:
        while not self.stopping.is_set():
            self._asked += 1
            name = f"{os.getpid()}-{self._asked}"
            self.note("ask", name)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._ask(name)
            except TimeoutError:
                self.note("hung", name)
            except (aiohttp.ClientError, OSError):
                self.note("cut", name)
                await asyncio.sleep(0.1)

    async def _ask(self, name: str) -> None:
        rng = self._rng
        stream, leaves = rng.random() < 0.5, rng.random() < 0.1
        body: dict[str, Any] = {
            "model": "tiny",
            "prompt": "a" * rng.randint(1, 40),
            "max_tokens": rng.randint(1, 40),
            "stream": stream,
        }
        if stream:
            body["stream_options"] = {"include_usage": True}
        headers = {"X-Request-Id": name}
        async with self._session.post("/v1/completions", json=body, headers=headers) as reply:
            if reply.status != 200:
                self.note("refused" if reply.status in REFUSALS else "wrong", name, reply.status)
                await reply.read()
                await asyncio.sleep(0.1)
                return
            self.note("accepted", name)
            if not stream:
                self._paid(name, json.loads(await reply.read())["usage"])
            elif leaves:
                await reply.content.readany()
                reply.close()
                self.note("left", name)
            else:
                await self._read(name, reply)

    async def _read(self, name: str, reply: aiohttp.ClientResponse) -> None:
        usage: dict[str, int] = {}
        async for line in reply.content:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                self._paid(name, usage)
                return
            event = json.loads(line[6:])
            if "error" in event:
                self.note("told", name)
                return
            usage = event.get("usage") or usage
        self.note("silent", name)

    def _paid(self, name: str, usage: dict[str, int]) -> None:
        self.note("whole", name, usage["prompt_tokens"], usage["completion_tokens"])


async def main(url: str, path: str, seed: int) -> None:
    headers = {"Authorization": f"Bearer {os.environ['CUSTOMER_KEY']}"}
    connector = aiohttp.TCPConnector(limit=0)
    whole = aiohttp.ClientTimeout(total=None)
    with open(path, "a", encoding="ascii") as journal:
        async with aiohttp.ClientSession(
            url, headers=headers, connector=connector, timeout=whole
        ) as session:
            customer = Customer(session, journal, random.Random(seed))
            stop = customer.stopping.set
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
            await asyncio.gather(*(customer.run() for _ in range(ASKERS)))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
