"""The thread that reads an engine's queues and its control stream, never more than its credit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from engine import redis_keys, scripts, streams
from engine.live import Live, LiveTable
from engine.logs import event_log
from engine.messages import (
    ChoiceDelta,
    Control,
    ControlKind,
    Counts,
    Delta,
    ErrorInfo,
    EventKind,
    Finish,
    QueueBody,
    WireMismatch,
    unpack,
)
from engine.redis_link import RedisLink
from engine.sampling_params import SamplingParams
from engine.step_loop import StepLoop

log = event_log(__name__)
IDLE_BLOCK_MS = 1000
FULL_BLOCK_MS = 25  # without credit only control messages are read; look again soon
STUCK_MS = 5000
ALIVE_FOR_S = 1.0  # a web process seen alive is not asked for again so soon


class QueueReader:
    """Reads while `accepting`. Unreadable, late and ownerless entries end without a step."""

    def __init__(
        self,
        link: RedisLink,
        engine: str,
        model: str,
        live: LiveTable,
        loop: StepLoop,
        *,
        begin: threading.Event,
        now_ms: Callable[[], float],
        deliver: Callable[[list[Delta]], None],
        on_control: Callable[[ControlKind], None],
    ) -> None:
        self.accepting = True
        self._link, self._engine, self._live, self._loop = link, engine, live, loop
        self._queues = [redis_keys.queue(model, lane) for lane in redis_keys.LANES]
        self._control = redis_keys.control(engine)
        self._begin = begin  # before that our streams may still be deleted
        self._now_ms, self._deliver, self._on_control = now_ms, deliver, on_control
        self._seen_webs: dict[str, float] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="queue-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The thread ends with its current read; `join` waits for that."""
        self._stopping = True

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._begin.wait()
        recover = True
        while not self._stopping:
            try:
                if recover:
                    self._ensure_groups()
                    self._read_pending()
                    recover = False
                self._read_new()
                self._link.worked()
            except ResponseError as error:
                recover = True  # NOGROUP after data loss, LOADING after a restart
                self._link.failed(error)
            except (RedisError, OSError) as error:
                recover = True
                self._link.failed(error)

    def _ensure_groups(self) -> None:
        client = self._link.client
        for stream in (*self._queues, self._control):
            try:
                client.xgroup_create(stream, redis_keys.QUEUE_GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
        client.sadd(redis_keys.QUEUES, *self._queues)

    def _read_pending(self) -> None:
        """Entries delivered to us in a reply we never got, and those a crashed Redis brought back;
        then the control messages among them."""
        for stream in (*self._queues, self._control):
            reply = self._link.client.xreadgroup(
                redis_keys.QUEUE_GROUP, self._engine, {stream: "0"}, count=10_000
            )
            entries = streams.by_stream(reply).get(stream, [])
            if stream == self._control:
                self._obey(entries)
            else:
                self._take(stream, entries)

    def _read_new(self) -> None:
        stuck = self._loop.age_ms() > STUCK_MS  # a hung loop must not swallow second attempts
        credit = self._loop.credit() if self.accepting and not stuck else 0
        names = [*self._queues, self._control] if credit else [self._control]
        wanted: dict[Any, Any] = dict.fromkeys(names, ">")
        reply = self._link.client.xreadgroup(
            redis_keys.QUEUE_GROUP,
            self._engine,
            wanted,
            count=max(1, credit // len(self._queues)),
            block=IDLE_BLOCK_MS if credit else FULL_BLOCK_MS,
        )
        found = streams.by_stream(reply)
        for queue in self._queues:
            self._take(queue, found.get(queue, []))
        self._obey(found.get(self._control, []))  # after the queues: an abort follows its request

    def _take(self, queue: str, entries: list[streams.Entry]) -> None:
        known = [(sid, fields, self._header(queue, sid, fields)) for sid, fields in entries]
        dead = self._dead_webs({header.web for _, _, header in known if header is not None})
        for sid, fields, header in known:
            if header is None or (live := self._read_entry(sid, fields, header)) is None:
                continue
            if header.web in dead or live.body.deadline_ms < self._now_ms():
                self._deliver([_unbegun(live.body)])
            else:
                self._loop.submit(live.body)

    def _header(self, queue: str, sid: str, fields: streams.Fields) -> streams.QueueHeader | None:
        if (header := streams.queue_header(fields)) is None:
            log.error("queue_entry_refused", queue=queue, sid=sid)
            self._link.client.xack(queue, redis_keys.QUEUE_GROUP, sid)
            self._link.client.xdel(queue, sid)
        return header

    def _read_entry(
        self, sid: str, fields: streams.Fields, header: streams.QueueHeader
    ) -> Live | None:
        rid, attempt, _ = header
        if self._live.get(rid, attempt) is not None:
            return None
        if (terminal := self._live.terminal_of(rid, attempt)) is not None:
            scripts.run(self._link.client, terminal)
            return None
        try:
            body = unpack(QueueBody, fields[b"body"])
        except WireMismatch as mismatch:
            log.error("request_unreadable", rid=rid, cause=str(mismatch))
            body = _bodyless(header)
            self._live.add(Live(body, sid, fields[b"bill"], 0))
            error = ErrorInfo("Overloaded", "The engine runs another version. Try again later.")
            self._deliver([_refusal(body, error)])
            return None
        waited_ms = max(0, round(self._now_ms() - body.admitted_ms))
        live = Live(body, sid, fields[b"bill"], waited_ms)
        self._live.add(live)
        return live

    def _dead_webs(self, webs: set[str]) -> set[str]:
        """Those without a heartbeat; none while our own view of Redis is young."""
        now = time.monotonic()
        unsure = [web for web in webs if self._seen_webs.get(web, 0.0) < now - ALIVE_FOR_S]
        if not unsure or not self._link.steady:
            return set()
        pipeline = self._link.client.pipeline(transaction=False)
        for web in unsure:
            pipeline.exists(redis_keys.web_beat(web))
        alive = pipeline.execute()
        there = dict(zip(unsure, alive, strict=True))
        self._seen_webs.update({web: now for web in unsure if there[web]})
        if len(self._seen_webs) > 1000:
            self._seen_webs.clear()
        return {web for web in unsure if not there[web]}

    def _obey(self, entries: list[streams.Entry]) -> None:
        if not entries:
            return
        for _, fields in entries:
            try:
                control = unpack(Control, fields.get(b"m", b""))
            except WireMismatch as mismatch:
                log.error("control_unreadable", cause=str(mismatch))
            else:
                self._act(control)
        ids = [sid for sid, _ in entries]
        pipeline = self._link.client.pipeline(transaction=False)
        pipeline.xack(self._control, redis_keys.QUEUE_GROUP, *ids)
        pipeline.xdel(self._control, *ids)
        pipeline.execute()

    def _act(self, control: Control) -> None:
        if control.kind in (ControlKind.LOAD_ADAPTER, ControlKind.UNLOAD_ADAPTER):
            self._adapt(control)
            self._on_control(control.kind)
        elif control.kind is not ControlKind.ABORT:
            self._on_control(control.kind)
        elif (live := self._live.get(control.rid, control.attempt)) is not None:
            live.cancelled = True
            self._loop.cancel(control.rid, Finish.CANCELLED)

    def _adapt(self, control: Control) -> None:
        if (source := control.adapter) is None or not source.digest:
            log.error("control_without_adapter", kind=control.kind)
        elif control.kind is ControlKind.LOAD_ADAPTER:
            self._loop.load_adapter(source)
        else:
            self._loop.unload_adapter(source.digest)


def _unbegun(body: QueueBody) -> Delta:
    """The only event of a request that came too late. It names its finish: an end without one
    would be a whole answer without a token."""
    choices = [ChoiceDelta(index, [], finish=Finish.CANCELLED) for index in range(body.width)]
    return Delta(body.rid, body.attempt, 0, EventKind.END, choices, counts=Counts())


def _refusal(body: QueueBody, error: ErrorInfo) -> Delta:
    """The only event of a request that cannot reach the core."""
    return Delta(body.rid, body.attempt, 0, EventKind.REFUSED, counts=Counts(), error=error)


def _bodyless(header: streams.QueueHeader) -> QueueBody:
    return QueueBody(
        rid=header.rid,
        attempt=header.attempt,
        web=header.web,
        model="",
        prompts=[],
        params=SamplingParams(),
        deadline_ms=0,
    )
