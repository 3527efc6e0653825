"""What a web process needs to generate text: admit a request, read its tokens, leave early.

    async with client.submit(admission) as stream:      # RateLimited, Overloaded, StaleSnapshot, …
        await stream.started()                           # an engine has it, or the refusal
        async for delta in stream: ...                   # DELTA …, then END with counts

One reader task owns the connection frames come in on; request tasks never touch Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from engine import redis_keys, scripts, streams
from engine.admission import (
    Admission,
    ClientSettings,
    LimitLeft,
    LimitRule,
    StaleSnapshot,
    new_rid,
    refusal,
)
from engine.errors import Overloaded, PagodaError
from engine.logs import event_log
from engine.messages import (
    Control,
    ControlKind,
    Finish,
    Frame,
    WebBeat,
    WireMismatch,
    pack,
    unpack,
)
from engine.request_stream import RequestStream
from engine.script_queue import RedisAway, ScriptQueue
from engine.scripts import LedgerEntry

__all__ = [
    "Admission",
    "ClientSettings",
    "EngineClient",
    "LimitLeft",
    "LimitRule",
    "RequestStream",
    "StaleSnapshot",
    "new_rid",
]
log = event_log(__name__)
BEAT_TTL_MS = 3000
TICK_S = 0.25
READ_FRAMES = 64  # handed out at one go; then their readers get a turn


@dataclass(slots=True)
class _State:
    """What the beat learns about Redis."""

    epoch: str = ""
    clock_offset_ms: float = field(
        default_factory=lambda: time.time() * 1e3 - time.monotonic() * 1e3
    )
    seen_at: float = 0.0  # monotonic, last good beat
    down_since: float | None = None


class EngineClient:
    """The transport's end in one web process. Create, `start()`, share, `close()`."""

    def __init__(
        self,
        redis_url: str,
        *,
        web_id: str | None = None,
        settings: ClientSettings | None = None,
        on_redis_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_redis_back` is called when Redis answers after an outage, or has lost its data: drop
        every snapshot then, for what Redis says of their epochs may be old."""
        self.web_id = web_id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.settings = settings or ClientSettings()
        self.draining = False
        self.keys_epoch_seen = 0
        self._on_redis_back = on_redis_back
        self._state = _State()
        self._streams: dict[str, RequestStream] = {}
        self._open_of_key: Counter[str] = Counter()
        self._ends: deque[float] = deque(maxlen=256)
        self._redis = [_connect(redis_url) for _ in range(3)]
        self._scripts = ScriptQueue(self._redis[0], self._note_error)
        self._last_id = "0-0"
        self._tasks: list[asyncio.Task[None]] = []
        self._logged_at = 0.0
        self._closed = False

    @property
    def open_requests(self) -> int:
        return len(self._streams)

    @property
    def ready(self) -> bool:
        """Redis answered lately and this process is not draining."""
        return not self.draining and time.monotonic() - self._state.seen_at < BEAT_TTL_MS / 1e3

    async def start(self) -> None:
        """Announce this process. Redis may be away: requests get 503 until it is there."""
        self._scripts.start()
        await self._beat_once()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._read(), name="frames"),
            loop.create_task(self._beat(), name="web-beat"),
            loop.create_task(self._tick(), name="queue-waits"),
        ]

    async def close(self) -> None:
        """Abort what is open, say goodbye, close the connections."""
        self.draining = True
        for stream in list(self._streams.values()):
            self._leave(stream)
        await self._scripts.close(flush_s=2.0)
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
            await self._redis[2].delete(
                redis_keys.web_beat(self.web_id), redis_keys.reply(self.web_id)
            )
        for client in self._redis:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()

    @asynccontextmanager
    async def submit(self, admission: Admission) -> AsyncIterator[RequestStream]:
        """Admit and enqueue; leaving the block before the end aborts in the engine.

        Raises `RateLimited`, `QuotaExceeded`, `InvalidRequest` (max_tokens over a whole limit),
        `Overloaded` (queue full, draining, Redis away) and `StaleSnapshot`.
        """
        if self.draining:
            raise Overloaded("This server is shutting down.", param="draining", retry_after_s=1)
        stream = self._open(admission)
        try:
            stream.limits_left = await self._admit(admission, stream)
            yield stream
        finally:
            self._leave(stream)

    async def cancel(self, rid: str, key_id: str) -> LedgerEntry | None:
        """End an open request of this key, whichever web process answers it.

        None when there is none. Raises `Overloaded` when Redis is away.
        """
        try:
            packed = await self._redis[2].hget(redis_keys.OPEN, rid)
            entry = scripts.read_entry(packed) if isinstance(packed, bytes) else None
            if entry is None or entry.bill.get("key_id") != key_id:
                return None
            control = Control(kind=ControlKind.ABORT, rid=rid, attempt=entry.attempt)
            await self._scripts.post(scripts.cancel(rid, control, Finish.CANCELLED))
        except (TimeoutError, RedisError, OSError, RedisAway) as error:
            self._note_error(error)
            raise _away() from None
        if (stream := self._streams.get(rid)) is not None:
            stream.fail(Overloaded("The request was cancelled.", param="stopped"))
        return entry

    # Admission

    def _open(self, admission: Admission) -> RequestStream:
        now = self._now_ms()
        life_ms = admission.body.deadline_ms or int(self.settings.deadline_s * 1000)
        body = msgspec.structs.replace(
            admission.body,
            attempt=1,
            web=self.web_id,
            admitted_ms=now,
            deadline_ms=now + life_ms,
        )
        stream = RequestStream(
            body,
            admission.bill,
            post=self._scripts.post,
            wait_until=time.monotonic() + self.settings.queue_wait_s,
            wait_s=self.settings.queue_wait_s,
            load_s=admission.load_s,
            dead_at=time.monotonic() + life_ms / 1000 + 5,
            patience_s=self.settings.redis_outage_s,
        )
        self._streams[body.rid] = stream
        self._open_of_key[stream.key_id] += 1
        return stream

    async def _admit(self, admission: Admission, stream: RequestStream) -> tuple[LimitLeft, ...]:
        body, rules = stream.body, admission.rules
        queue = redis_keys.queue(body.model, self._lane(admission))
        args = scripts.AdmitArgs(
            rid=body.rid,
            attempt=body.attempt,
            web=self.web_id,
            key_id=admission.key_id,
            key_epoch=admission.key_epoch,
            catalog_epoch=admission.catalog_epoch,
            epoch=self._state.epoch,
            rules=[_rule_args(rule, admission, body.admitted_ms / 1e3) for rule in rules],
            reserve=admission.reserve_tokens,
            deadline=body.deadline_ms,
            queue_entries=self.settings.queue_entries,
            queue_bytes=self.settings.queue_bytes,
            usage_entries=self.settings.usage_entries,
        )
        call = scripts.admit(args, queue, body, admission.bill)
        try:
            reply = await self._scripts.post(call, patience_s=self.settings.redis_outage_s)
        except RedisAway:
            raise _away() from None
        except ResponseError as error:
            if "OOM" not in str(error):
                raise
            self._note_error(error)
            raise self._busy("memory") from None
        verdict, *figures = reply
        verdict = scripts.text(verdict)
        if verdict == "OK":
            stream.admitted = True
            left = figures[2:]
            return tuple(
                LimitLeft(rule=rule, remaining=left[2 * i], reset_s=left[2 * i + 1] / 1000)
                for i, rule in enumerate(rules)
            )
        stream.refused = True
        if verdict == "STALE":
            kind = scripts.text(figures[0])
            if kind == "epoch" and self._state.epoch == args.epoch:  # Redis lost its data
                self._see_epoch(scripts.text(figures[1]))
            raise StaleSnapshot("catalog" if kind == "catalog" else "key")
        if verdict == "BUSY":
            raise self._busy(scripts.text(figures[0]))
        raise refusal(verdict, rules[figures[0] - 1], admission, figures[1:])

    def _lane(self, admission: Admission) -> str:
        """Engines read both lanes evenly: a key with many requests must not fill the one in which
        all others stand."""
        many = self._open_of_key[admission.key_id] > self.settings.fair_share
        return redis_keys.CROWDED if many else admission.lane

    def _busy(self, reason: str) -> Overloaded:
        what = {
            "queue": "The queue of this model is full.",
            "usage": "The accounting backlog is full.",
            "memory": "Redis has no memory left.",
        }[reason]
        return Overloaded(f"{what} Try again later.", param=reason, retry_after_s=self._drain_s())

    def _drain_s(self) -> float:
        """Seconds until a place gets free, from the ends this process saw in the last minute."""
        recent = [at for at in self._ends if at > time.monotonic() - 60]
        if len(recent) < 2:
            return 5.0
        return max(1.0, min(60.0, (recent[-1] - recent[0]) / (len(recent) - 1)))

    def _leave(self, stream: RequestStream) -> None:
        if self._streams.pop(stream.rid, None) is None:
            return
        self._open_of_key[stream.key_id] -= 1
        if not self._open_of_key[stream.key_id]:
            del self._open_of_key[stream.key_id]
        if stream.ended:
            self._ends.append(time.monotonic())
        elif not stream.refused:
            stream.abort(Finish.CANCELLED)

    # Frames

    async def _read(self) -> None:
        """Own the reply stream: every frame goes to its request, in order."""
        key = redis_keys.reply(self.web_id)
        client = self._redis[1]
        while not self._closed:
            away = self._state.down_since is not None  # then any answer is news
            block_ms = 1 if away else 1000
            try:
                reply = await client.xread({key: self._last_id}, count=READ_FRAMES, block=block_ms)
            except (TimeoutError, RedisError, OSError) as error:
                self._note_error(error)
                await asyncio.sleep(self._outage())
                continue
            if away:
                self._state.down_since = None
                self._on_redis_back()
            for entry_id, fields in streams.by_stream(reply).get(key, []):
                self._last_id = entry_id
                self._deliver(fields)

    def _deliver(self, fields: streams.Fields) -> None:
        try:
            frame = unpack(Frame, fields.get(b"f", b""))
        except WireMismatch as error:
            log.error("frame_refused", cause=str(error))
            return
        for delta in frame.deltas:
            if (stream := self._streams.get(delta.rid)) is not None:
                stream.push(delta, frame.engine)

    def _outage(self) -> float:
        """Count how long Redis is away; past the limit every open request ends with an error."""
        now = time.monotonic()
        state = self._state
        if state.down_since is None:
            state.down_since = now
        if now - state.down_since > self.settings.redis_outage_s:
            self._fail_all(_away)
        return min(0.5, 0.02 + (now - state.down_since) / 4)

    def _fail_all(self, error: Callable[[], PagodaError]) -> None:
        for stream in self._streams.values():
            if not stream.ended:
                stream.fail(error())

    # Beat

    async def _beat(self) -> None:
        while not self._closed:
            await asyncio.sleep(1.0)
            await self._beat_once()

    async def _beat_once(self) -> None:
        """Heartbeat, Redis' clock, the data epoch, and the frames nobody needs any more."""
        reply_key = redis_keys.reply(self.web_id)
        beat = WebBeat(
            web=self.web_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            open_requests=len(self._streams),
            draining=self.draining,
            keys_epoch_seen=self.keys_epoch_seen,
        )
        pipeline = self._redis[2].pipeline(transaction=False)
        pipeline.set(redis_keys.web_beat(self.web_id), pack(beat), px=BEAT_TTL_MS)
        pipeline.xtrim(reply_key, minid=self._last_id, approximate=False)
        pipeline.expire(reply_key, 60)
        pipeline.time()
        pipeline.set(redis_keys.EPOCH, secrets.token_hex(8), nx=True)
        pipeline.get(redis_keys.EPOCH)
        try:
            *_, clock, _set, epoch = await pipeline.execute()
        except (TimeoutError, RedisError, OSError) as error:
            self._note_error(error)
            return
        self._learn(clock, scripts.text(epoch))

    def _learn(self, clock: tuple[int, int], epoch: str) -> None:
        state = self._state
        state.seen_at = time.monotonic()
        state.clock_offset_ms = clock[0] * 1e3 + clock[1] / 1e3 - state.seen_at * 1e3
        self._see_epoch(epoch)

    def _see_epoch(self, epoch: str) -> None:
        before, self._state.epoch = self._state.epoch, epoch
        if before and before != epoch:
            log.error("redis_data_lost", epoch=epoch)
            self._last_id = "0-0"
            self._fail_all(_away)
            self._on_redis_back()

    async def _tick(self) -> None:
        """End what waited too long for an engine, or outlived its deadline."""
        while not self._closed:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for stream in list(self._streams.values()):
                if (error := stream.overdue(now)) is not None:
                    stream.fail(error)
                    stream.abort(Finish.ERROR, type(error).__name__)

    def _now_ms(self) -> int:
        """Redis' clock, within a round trip."""
        return int(time.monotonic() * 1e3 + self._state.clock_offset_ms)

    def _note_error(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._logged_at > 5:
            self._logged_at = now
            log.warning("redis_trouble", cause=f"{type(error).__name__}: {error}")


def _rule_args(rule: LimitRule, admission: Admission, now_s: float) -> tuple[Any, ...]:
    """A rule as admit.lua takes it."""
    keys = scripts.rule_keys(rule.kind, rule.subject, rule.period, now_s)
    if rule.kind not in scripts.BUDGETS:
        return (rule.kind, *keys, rule.limit)
    hold = admission.reserve_micros if rule.kind == "money" else admission.reserve_tokens
    return (rule.kind, *keys, rule.limit, scripts.PERIOD_MS[rule.period], hold)


def _connect(url: str) -> redis.asyncio.Redis:
    """One connection. Retries are ours: the library's would hide lost replies."""
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        url,
        max_connections=1,
        socket_timeout=3,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
    )
    return client


def _away() -> Overloaded:
    return Overloaded("The queue cannot be reached. Try again.", param="redis", retry_after_s=2)
