"""What the stop of a server means for connections that have not brought a request yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from inference_site import http_protocol
from inference_site.http_protocol import BoundedHeadProtocol
from inference_site.leaving import LEAVING

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
LIMIT_S = 20


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def connection(
    state: dict[str, Any],
) -> AsyncIterator[tuple[BoundedHeadProtocol, asyncio.StreamReader, asyncio.StreamWriter]]:
    """The server's end of a fresh connection, and the caller's."""
    config = Config(answer, ws="websockets-sansio", lifespan="off", log_config=None)
    config.load()
    protocol = BoundedHeadProtocol(config, ServerState(), app_state=state)
    ours, theirs = socket.socketpair()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    async with asyncio.timeout(LIMIT_S):
        yield protocol, reader, writer
    writer.close()


@pytest.mark.parametrize("sent_before", [0, 4, len(REQUEST)])
async def test_a_request_on_its_way_is_answered_as_the_last_one(sent_before: int) -> None:
    async with connection({LEAVING: True}) as (protocol, reader, writer):
        writer.write(REQUEST[:sent_before])
        await asyncio.sleep(0.01)
        protocol.shutdown()
        writer.write(REQUEST[sent_before:] + b"\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 204")  # and the end of the connection


async def test_nobody_is_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "LAST_HEAD_S", 0.01)
    async with connection({LEAVING: True}) as (protocol, reader, _):
        protocol.shutdown()
        assert await reader.read() == b""


async def test_a_web_socket_that_comes_so_late_is_turned_away() -> None:
    async with connection({LEAVING: True}) as (protocol, reader, writer):
        protocol.shutdown()
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        writer.write(REQUEST + UPGRADE + key + b"\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 500")


async def test_a_server_that_turned_nobody_away_closes_at_once() -> None:
    async with connection({}) as (protocol, reader, _):
        protocol.shutdown()
        assert await reader.read() == b""
