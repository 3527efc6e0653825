"""The agent's process: waits for a wake-up or a second to pass, then turns the loop."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
import time
from types import FrameType

import redis
from django.db import DatabaseError, close_old_connections

from apps.models.agent.loop import Agent
from engine import redis_keys

log = logging.getLogger(__name__)
TURN_EVERY_S = 1.0
LOADING_TURN_EVERY_S = 0.1  # a model is announced as soon as its engine is ready


class Bell:
    """A pipe that signals, ended children and Redis messages ring."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self.write_end, False)

    def ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is ringing already
            os.write(self.write_end, b"!")

    def wait(self, timeout_s: float) -> None:
        if select.select([self.read_end], [], [], timeout_s)[0]:
            os.read(self.read_end, 4096)


def run(agent: Agent) -> None:
    """Until SIGTERM; then drain the engines. A second SIGTERM kills them."""
    bell = Bell()
    asked = 0

    def on_stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        bell.ring()

    signal.signal(signal.SIGTERM, on_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda number, frame: bell.ring())
    listener = threading.Thread(target=_listen, args=(agent.client, bell), daemon=True)
    listener.start()
    alive = agent.settings.log_folder / "agent.alive"  # a container's health check reads its age
    alive.parent.mkdir(parents=True, exist_ok=True)
    while not asked:
        _guarded_turn(agent)
        alive.touch()
        bell.wait(LOADING_TURN_EVERY_S if agent.loading else TURN_EVERY_S)
    while not _drained(agent):
        if asked > 1:
            for child in agent.children.values():
                child.kill()
        bell.wait(0.2)


def _guarded_turn(agent: Agent) -> None:
    """A turn that fails is logged and repeated: engines must not die because Redis is away."""
    try:
        close_old_connections()
        agent.turn()
    except (redis.RedisError, DatabaseError) as error:
        log.warning("agent_turn_failed", extra={"cause": f"{type(error).__name__}: {error}"})


def _drained(agent: Agent) -> bool:
    try:
        return agent.drain_all()
    except (redis.RedisError, DatabaseError):
        for child in agent.children.values():
            child.kill()
        return all(child.process.poll() is not None for child in agent.children.values())


def _listen(client: redis.Redis, bell: Bell) -> None:
    """Ring on every wake-up message; without Redis the turn each second still works."""
    while True:
        try:
            with client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                channel.subscribe(redis_keys.AGENT_WAKE)
                for _ in channel.listen():
                    bell.ring()
        except redis.RedisError:
            time.sleep(TURN_EVERY_S)
