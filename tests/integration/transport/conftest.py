"""A fake engine in a thread and a client, joined by a real Redis."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

from engine.client import Admission, ClientSettings, EngineClient, LimitRule, new_rid
from engine.messages import Bill, QueueBody
from engine.sampling_params import SamplingParams
from engine.step_loop import StepLoop
from engine.testing import FakeCore, FakeSpeed
from engine.transport import Transport
from tests.served import LIMIT_S

MODEL = "m"


class ThreadEngine:
    """A whole engine but for the process."""

    def __init__(self, redis_url: str, name: str, speed: FakeSpeed) -> None:
        self.core = FakeCore(speed)
        self.loop = StepLoop(self.core)
        self.transport = Transport(name, MODEL, redis_url)
        self._thread = threading.Thread(
            target=self.loop.run, args=(self.transport.deliver,), daemon=True
        )
        self.transport.start()
        self.transport.attach(self.loop)
        self._thread.start()

    def stop(self) -> None:
        self.loop.stop()
        self._thread.join(LIMIT_S)
        self.transport.stop()


@pytest.fixture
def engine_of(redis_url: str) -> Iterator[Callable[..., ThreadEngine]]:
    engines: list[ThreadEngine] = []

    def make(name: str = "e1", **speed: Any) -> ThreadEngine:
        engines.append(ThreadEngine(redis_url, name, FakeSpeed(**speed)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.stop()


@pytest.fixture
async def client_of(redis_url: str) -> AsyncIterator[Callable[..., Awaitable[EngineClient]]]:
    clients: list[EngineClient] = []

    async def make(**settings: Any) -> EngineClient:
        client = EngineClient(redis_url, settings=ClientSettings(**settings))
        await client.start()
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def r(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def admission(
    *, tokens: int = 8, n: int = 1, rules: tuple[LimitRule, ...] = (), rid: str = "",
    reserve: int | None = None, lane: str = "high", prompt: int = 3, deadline_ms: int = 0,
) -> Admission:  # fmt: skip
    body = QueueBody(
        rid=rid or new_rid(), attempt=0, web="", model=MODEL,
        prompts=[list(range(1, prompt + 1))], params=SamplingParams(max_tokens=tokens, n=n),
        deadline_ms=deadline_ms,
    )  # fmt: skip
    return Admission(
        body=body, lane=lane, key_id="k", key_epoch=0, catalog_epoch=0, rules=rules,
        reserve_tokens=prompt + tokens * n if reserve is None else reserve,
        bill=Bill(key_id="k", model=MODEL),
    )  # fmt: skip
