"""What a person may tell a running engine: end a request, drain, go on. Each is audited."""

from __future__ import annotations

import redis
from msgspec import DecodeError

from apps.api.services import Actor, audit_record
from engine import redis_keys, scripts
from engine.errors import InvalidRequest, Overloaded
from engine.messages import Control, ControlKind, Finish, pack
from inference_site.redis import redis_url

STOPPED_BY = "CancelledByOperator"


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
