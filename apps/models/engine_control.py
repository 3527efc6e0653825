"""What may be told to running engines: end a request, drain, go on, sleep. Each is audited."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import redis
from django.db import connection
from msgspec import DecodeError

from apps.api.services import Actor, audit_record
from apps.models.models import EngineInstance
from engine import redis_keys, scripts
from engine.errors import InvalidRequest, NotFound, Overloaded
from engine.machine import machine_settings
from engine.messages import (
    Control,
    ControlKind,
    EngineBeat,
    EngineState,
    Finish,
    WireMismatch,
    pack,
    unpack,
)
from inference_site.redis import redis_url

STOPPED_BY = "CancelledByOperator"
CONTROL_WAIT_S = 30.0
CONTROL_POLL_S = 0.05


def request_cancel(*, rid: str, actor: Actor) -> None:
    """End one open request; its client is told that the server stopped it. Raises
    `InvalidRequest` when it has ended, `Overloaded` when Redis is away."""
    with _redis() as client:
        try:
            packed = client.hget(redis_keys.OPEN, rid)
            if not isinstance(packed, bytes):
                raise InvalidRequest(f"The request {rid} has ended already.", param="rid")
            attempt = scripts.read_entry(packed).attempt
            control = Control(kind=ControlKind.ABORT, rid=rid, attempt=attempt)
            scripts.run(client, scripts.cancel(rid, control, Finish.CANCELLED, STOPPED_BY))
        except DecodeError:
            raise InvalidRequest(f"The request {rid} cannot be read.", param="rid") from None
        except redis.RedisError:
            raise _away() from None
    audit_record(actor=actor, action="request.cancel", subject=rid)


def engine_drain(*, engine: str, actor: Actor) -> None:
    """It takes no more requests; those it has go on. Lost with the process: a new one serves."""
    _tell(engine, ControlKind.DRAIN)
    audit_record(actor=actor, action="engine.drain", subject=engine)


def engine_resume(*, engine: str, actor: Actor) -> None:
    """A drained engine takes requests again."""
    _tell(engine, ControlKind.RESUME)
    audit_record(actor=actor, action="engine.resume", subject=engine)


def engines_sleep(*, actor: Actor) -> bool:
    """Every engine finishes what it has and gives the KV cache's memory back; requests wait for
    `engines_wake`. False: some still compute after `CONTROL_WAIT_S`, and fall asleep later."""
    engines = _engines()
    for engine in engines:
        _tell(engine, ControlKind.SLEEP)
    audit_record(actor=actor, action="engines.sleep", subject=", ".join(engines))
    return _until(lambda beat: beat.asleep)


def engines_wake(*, actor: Actor) -> bool:
    """Every engine takes its memory again and then requests. False: some have not yet."""
    engines = _engines()
    for engine in engines:
        _tell(engine, ControlKind.RESUME)
    audit_record(actor=actor, action="engines.wake", subject=", ".join(engines))
    return _until(lambda beat: not beat.asleep)


def engines_asleep() -> bool:
    """Whether all engines there are sleep. One SQL query, one round trip."""
    beats = _beats()
    return bool(beats) and all(beat.asleep for beat in beats)


def prefixes_forget(*, actor: Actor) -> None:
    """Engines share nothing of the prompts before with those to come."""
    engines = _engines()
    for engine in engines:
        _tell(engine, ControlKind.FORGET_PREFIXES)
    audit_record(actor=actor, action="engines.forget_prefixes", subject=", ".join(engines))


def engines_profile(*, on: bool, actor: Actor) -> bool:
    """Every engine traces what it computes, or writes its trace down. False: some did not, or do
    not yet. Raises `NotFound` where no folder is kept for that."""
    if machine_settings().profile_dir is None:
        raise NotFound("No profiles are taken here: PAGODA_PROFILE_DIR names no folder.")
    engines = _engines()
    kind = ControlKind.START_PROFILE if on else ControlKind.STOP_PROFILE
    for engine in engines:
        _tell(engine, kind)
    audit_record(actor=actor, action=f"engines.{kind}", subject=", ".join(engines))
    return _until(lambda beat: beat.profiling is on)


def open_requests() -> int:
    """Requests that have been admitted and have not ended, of all models."""
    with _redis() as client:
        try:
            return int(client.hlen(redis_keys.OPEN))
        except redis.RedisError:
            raise _away() from None


def _engines() -> list[str]:
    return [beat.engine for beat in _beats()]


def _beats() -> list[EngineBeat]:
    """Of engines that have loaded. Raises `Overloaded` without Redis."""
    ids = EngineInstance.objects.values_list("engine_id", flat=True)
    keys = [redis_keys.engine_beat(engine) for engine in ids]
    with _redis() as client:
        try:
            found = client.mget(keys) if keys else []
        except redis.RedisError:
            raise _away() from None
    beats = []
    for data in found:
        with contextlib.suppress(WireMismatch):  # gone, or of another version
            beats.append(unpack(EngineBeat, data or b""))
    return [beat for beat in beats if beat.state in (EngineState.READY, EngineState.DRAINING)]


def _until(reached: Callable[[EngineBeat], bool]) -> bool:
    """Whether all engines come to it in `CONTROL_WAIT_S`."""
    until = time.monotonic() + CONTROL_WAIT_S
    while not all(map(reached, _beats())):
        if time.monotonic() > until:
            return False
        if not connection.in_atomic_block:
            connection.close()
        time.sleep(CONTROL_POLL_S)
    return True


def _tell(engine: str, kind: ControlKind) -> None:
    """Raises `InvalidRequest` for an engine without a heartbeat, `Overloaded` without Redis."""
    with _redis() as client:
        try:
            if not client.exists(redis_keys.engine_beat(engine)):
                raise InvalidRequest(f"No engine {engine} runs.", param="engine")
            client.xadd(redis_keys.control(engine), {"m": pack(Control(kind=kind))})
        except redis.RedisError:
            raise _away() from None


def _redis() -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(redis_url(), socket_timeout=2)
    return client


def _away() -> Overloaded:
    return Overloaded("Redis cannot be reached. Try again.", param="redis", retry_after_s=2)
