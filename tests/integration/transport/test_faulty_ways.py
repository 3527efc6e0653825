"""Small pieces of the chaos suite: crash points that exist, and a connection that loses replies."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from functools import reduce

import pytest

from engine import redis_keys
from engine.client import EngineClient
from tests.chaos import crash
from tests.chaos.proxy import Proxy
from tests.integration.transport.conftest import admission
from tests.integration.transport.waiting import soon


@pytest.mark.parametrize("name", crash.POINTS)
def test_a_crash_point_is_a_function_that_exists(name):
    module, _, path = crash.POINTS[name].where.partition(":")
    assert callable(reduce(getattr, path.split("."), importlib.import_module(module)))


@pytest.mark.parametrize(("when", "calls_before"), [("before", 3), ("after", 4)])
def test_an_armed_function_is_the_last_that_runs(monkeypatch, when, calls_before):
    calls, killed = [], []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((number, len(calls))))
    armed = crash.armed(calls.append, crash.Point("engine", "", when, crash.has_entries), 3)
    for items in (["a"], [], ["b"], ["c"], ["d"]):
        armed(items)
    assert killed == [(signal.SIGKILL, calls_before)]


@pytest.fixture
async def way(tmp_path, redis_url):
    """A proxy to Redis, and a client behind it."""
    proxy = Proxy(tmp_path / "way.sock", redis_url.removeprefix("unix://"))
    client = EngineClient(proxy.url)
    await client.start()
    yield proxy, client
    await client.close()
    proxy.close()


async def test_an_admission_whose_reply_got_lost_is_one_admission(r, way):
    proxy, client = way
    async with client.submit(admission()):
        pass  # now the connection is open and its script known
    await soon(lambda: not r.hlen(redis_keys.OPEN), what="the end")
    proxy.swallow_replies()
    submitted = client.submit(admission())
    entering = asyncio.ensure_future(submitted.__aenter__())
    await soon(lambda: r.hlen(redis_keys.OPEN), what="the admission")
    proxy.heal()
    stream = await entering
    assert stream.admitted
    assert r.xlen(redis_keys.queue("m", "high")) == 1
    await submitted.__aexit__(None, None, None)
