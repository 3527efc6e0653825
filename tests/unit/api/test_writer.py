"""The writing end of a response under the watch."""

from __future__ import annotations

import asyncio
from typing import Any

from apps.api.answers import KEEP_ALIVE
from apps.api.caps import ApiSettings
from apps.api.writer import ResponseWriter

SETTINGS = ApiSettings()


class Sent(list[dict[str, Any]]):
    async def __call__(self, message: dict[str, Any]) -> None:
        self.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self if "body" in message]


def writer_at(sent: Sent) -> tuple[ResponseWriter, float]:
    """A prepared stream, and a moment at which it has been silent for too long."""
    writer = ResponseWriter(sent)
    writer.prepare_stream([], lambda: None)
    return writer, asyncio.get_running_loop().time() + SETTINGS.keep_alive_s + 1


async def test_every_silence_gets_its_comment() -> None:
    sent = Sent()
    writer, now = writer_at(sent)
    for silence in range(3):
        writer.look(now + silence * (SETTINGS.keep_alive_s + 1), SETTINGS)
        await asyncio.sleep(0.01)
    await writer.close()
    assert sent.bodies == [KEEP_ALIVE] * 3


async def test_a_comment_never_gets_into_a_refusal() -> None:
    sent = Sent()
    writer, now = writer_at(sent)
    writer.look(now, SETTINGS)  # its comment is due, but the refusal comes first
    await writer.whole(503, [], b"refused")
    await asyncio.sleep(0.01)
    await writer.close()
    assert sent.bodies == [b"refused"]


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    never = asyncio.Event()

    async def stuck(message: dict[str, Any]) -> None:
        await never.wait()

    async def handler() -> ResponseWriter:
        writer = ResponseWriter(stuck)
        made.set_result(writer)
        await writer.whole(200, [], b"x")
        return writer

    made: asyncio.Future[ResponseWriter] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(handler())
    writer = await made
    await asyncio.sleep(0)
    writer.look(asyncio.get_running_loop().time() + SETTINGS.write_stall_s + 1, SETTINGS)
    await asyncio.wait([task])
    assert task.cancelled()
    assert writer.stalled
