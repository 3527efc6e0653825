"""An engine's link to everyone else: a thread that writes frames, terminals and heartbeats.

The step loop hands over each step's deltas and goes on; here they become one packed frame per web
process and one terminal script per ended request, in one pipeline. While Redis is away they wait:
nothing new is read meanwhile, so what can pile up is bounded by the requests already running.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from redis.exceptions import NoScriptError, RedisError, ResponseError

from engine import redis_keys, scripts
from engine.judgement import judge_consumer
from engine.live import Live, LiveTable
from engine.logs import event_log
from engine.messages import (
    Control,
    ControlKind,
    Delta,
    EngineBeat,
    EngineState,
    EventKind,
    Finish,
    Frame,
    UsageEvent,
    decoded,
    pack,
)
from engine.process import resident_bytes
from engine.queue_reader import QueueReader
from engine.redis_link import RedisLink
from engine.step_loop import StepLoop
from engine.view import VIEW_TTL_MS, CoreView
from engine.view_builder import view_of

log = event_log(__name__)
BEAT_S = 1.0
HURRY_BEAT_S = 0.1  # for HURRY_S after an adapter was asked for: somebody waits to hear of it
HURRY_S = 3.0
BEAT_TTL_MS = 3000
CHECKPOINT_TTL_S = 3600
CONTROL_TTL_S = 3600  # every engine process has a stream of its own, which it may leave behind
REPLY_MAXLEN = 100_000
UNCONFIRMED_S = 10.0
ENDS = (EventKind.END, EventKind.REFUSED)
PROFILE = (ControlKind.START_PROFILE, ControlKind.STOP_PROFILE)


@dataclass(slots=True)
class Progress:
    """What the heartbeat tells beside the core's figures."""

    state: EngineState = EngineState.STARTING
    phase: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    cause: str = ""
    fix: str = ""
    max_model_len: int = 0
    kv_tokens: int = 0
    task: str = ""  # as in `EngineBeat`


@dataclass(slots=True)
class _Ended:
    """A terminal whose script said 0. If Redis lost its data, this is the only trace of it."""

    at: float
    event: UsageEvent


@dataclass(slots=True)
class _End:
    """A request that ends, with the call that ends it."""

    live: Live
    delta: Delta
    terminal: scripts.Call


@dataclass(slots=True)
class _Outgoing:
    """One pipeline: frames first, then the requests that end."""

    frames: dict[str, list[Delta]] = field(default_factory=dict)
    ends: list[_End] = field(default_factory=list)


class Transport:
    """Create, `start()` (heartbeats), `attach(loop)` when the model is loaded, `stop()`."""

    def __init__(self, engine: str, model: str, redis_url: str) -> None:
        self.engine, self.model = engine, model
        self.progress = Progress()
        self.live = LiveTable()
        self._url = redis_url
        self._link = RedisLink(redis_url)
        self._outbox: queue.SimpleQueue[list[Delta] | None] = queue.SimpleQueue()
        self._loop: StepLoop | None = None
        self._reader: QueueReader | None = None
        self._epoch = ""
        self._offset_ms = (time.time() - time.monotonic()) * 1000
        self._started_ms = int(time.time() * 1000)
        self._unconfirmed: deque[_Ended] = deque(maxlen=10_000)
        self._next_beat = 0.0
        self._hurry_until = 0.0
        self._view: CoreView | None = None  # asked for, not sent yet
        self._stopping = False
        self._cleaned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="transport", daemon=True)

    def start(self) -> None:
        """Begin to beat. Whatever an earlier process of this name left behind is judged first."""
        self._thread.start()

    def attach(self, loop: StepLoop) -> None:
        """The model is ready: announce it and read the queue."""
        self._loop = loop
        self._reader = QueueReader(
            RedisLink(self._url),
            self.engine,
            self.model,
            self.live,
            loop,
            begin=self._cleaned,
            now_ms=self.now_ms,
            deliver=self.deliver,
            on_control=self._on_control,
        )
        self.progress.state = EngineState.READY
        self._beat_soon()
        self._reader.start()

    def deliver(self, deltas: list[Delta]) -> None:
        """Called by the step loop after each step; never blocks."""
        self._outbox.put(deltas)

    def drain(self) -> None:
        """Read no more requests; those here go on."""
        if self._reader is not None:
            self._reader.accepting = False
        self.progress.state = EngineState.DRAINING
        self._beat_soon()

    def fail(self, cause: str, fix: str) -> None:
        """The engine will not start: say why in the heartbeat."""
        self.progress.state = EngineState.FAILED
        self.progress.cause, self.progress.fix = cause, fix
        self._beat_soon()

    def beat_now(self) -> None:
        """Let the heartbeat show the latest progress."""
        self._beat_soon()

    def cancel_all(self) -> None:
        """Abort everything that runs here."""
        for live in self.live.all():
            self._cancel(live)

    def stop(self, flush_s: float = 3.0) -> None:
        """Send what is still in the outbox, then end both threads."""
        self._stopping = True
        if self._reader is not None:
            self._reader.stop()
        self._outbox.put(None)
        self._thread.join(flush_s)
        if self._reader is not None:
            self._reader.join(flush_s)

    def now_ms(self) -> float:
        """Redis' clock, within a round trip."""
        return time.monotonic() * 1000 + self._offset_ms

    def _beat_soon(self) -> None:
        self._next_beat = 0.0
        self._outbox.put([])

    def _on_control(self, kind: ControlKind) -> None:
        if kind is ControlKind.DRAIN:
            self.drain()
        elif kind is ControlKind.SLEEP and self._loop is not None:
            self.drain()
            self._loop.sleep(self._beat_soon)
        elif kind is ControlKind.FORGET_PREFIXES and self._loop is not None:
            self._loop.forget_prefixes()
        elif kind in PROFILE and self._loop is not None:
            self._loop.profile(on=kind is ControlKind.START_PROFILE, then=self._beat_soon)
        elif kind is ControlKind.RESUME and self._reader is not None and self._loop is not None:
            self.progress.state = EngineState.READY
            self._loop.wake_up(self._beat_soon)  # before the first request that is read now
            self._reader.accepting = True
        elif kind is ControlKind.VIEW and self._loop is not None:
            self._loop.view(self._on_view)
        elif kind in (ControlKind.LOAD_ADAPTER, ControlKind.UNLOAD_ADAPTER):
            self._hurry_until = time.monotonic() + HURRY_S
            self._beat_soon()

    def _on_view(self, view: CoreView) -> None:
        self._view = view
        self._outbox.put([])

    # The writer thread

    def _run(self) -> None:
        self._retry(self._clean_up)
        self._cleaned.set()
        while True:
            batch, last = self._gather()
            outgoing = self._sort(batch)
            if outgoing.frames or outgoing.ends:
                self._retry(partial(self._send, outgoing))
                for end in outgoing.ends:
                    self.live.end(end.live, end.terminal)
            if self._view is not None:
                self._show_view(self._view)
                self._view = None
            if time.monotonic() >= self._next_beat:
                now = time.monotonic()
                self._next_beat = now + (HURRY_BEAT_S if now < self._hurry_until else BEAT_S)
                try:
                    self._beat()
                    self._link.worked()
                except (RedisError, OSError) as error:
                    self._link.failed(error)
            if last:
                self._wake_reader()
                return

    def _wake_reader(self) -> None:
        """A message to ourselves ends the reader's blocking read."""
        message = pack(Control(kind=ControlKind.DRAIN))
        with contextlib.suppress(RedisError, OSError):
            self._link.client.xadd(redis_keys.control(self.engine), {"m": message})
            self._link.client.expire(redis_keys.control(self.engine), CONTROL_TTL_S)

    def _retry(self, work: Callable[[], None]) -> None:
        """Do `work` until Redis took it. Frames are numbered and terminals count once, so
        sending a pipeline twice does no harm."""
        while True:
            try:
                work()
                self._link.worked()
                return
            except (RedisError, OSError) as error:
                if self._stopping and not self._link.steady:
                    return  # nothing more can be done; the judge takes over
                self._link.failed(error)

    def _clean_up(self) -> None:
        """Our name was used before: its requests are lost, its control messages stale."""
        client = self._link.client
        for lane in redis_keys.LANES:
            try:
                judge_consumer(client, redis_keys.queue(self.model, lane), self.engine)
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
        client.delete(redis_keys.control(self.engine), redis_keys.checkpoint(self.engine))
        client.script_load(scripts.script("terminal").text)

    def _gather(self) -> tuple[list[Delta], bool]:
        """Everything that waits, or after at most the time to the next beat nothing."""
        deltas: list[Delta] = []
        try:
            item = self._outbox.get(timeout=max(0.0, self._next_beat - time.monotonic()))
            while True:
                if item is None:
                    return deltas, True
                deltas += item
                item = self._outbox.get_nowait()
        except queue.Empty:
            return deltas, False

    def _sort(self, deltas: list[Delta]) -> _Outgoing:
        outgoing = _Outgoing()
        for delta in deltas:
            live = self.live.get(delta.rid, delta.attempt)
            if live is None:
                continue  # an attempt that was replaced: nobody waits for it
            live.note(delta)
            if delta.kind in ENDS:
                outgoing.ends.append(_End(live, delta, self._terminal(live, delta)))
            else:
                outgoing.frames.setdefault(live.body.web, []).append(delta)
        return outgoing

    def _send(self, outgoing: _Outgoing) -> None:
        pipeline: Any = self._link.client.pipeline(transaction=False)
        for web, deltas in outgoing.frames.items():
            pipeline.xadd(redis_keys.reply(web), {"f": self._frame(deltas)}, maxlen=REPLY_MAXLEN)
        for end in outgoing.ends:
            pipeline.execute_command(*end.terminal.command())
        replies = pipeline.execute(raise_on_error=False)
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if any(isinstance(error, NoScriptError) for error in errors):
            self._link.client.script_load(scripts.script("terminal").text)
        if errors:
            raise errors[0]
        self._confirm(outgoing, replies[len(outgoing.frames) :])

    def _confirm(self, outgoing: _Outgoing, won: list[Any]) -> None:
        for end, first in zip(outgoing.ends, won, strict=True):
            if first:
                continue
            event = self._usage(end.live, end.delta)
            if end.live.orphan:
                self._emit(event)
            else:
                self._unconfirmed.append(_Ended(time.monotonic(), event))

    def _frame(self, deltas: list[Delta]) -> bytes:
        return pack(Frame(engine=self.engine, deltas=deltas))

    def _terminal(self, live: Live, delta: Delta) -> scripts.Call:
        counts = live.truth(delta.counts)
        shown = msgspec.structs.replace(delta, counts=counts)
        return scripts.terminal(
            scripts.Ending(
                rid=delta.rid,
                attempt=delta.attempt,
                web=live.body.web,
                finish=_finish(live, delta),
                who="owner",
                sid=live.sid,
                engine=self.engine,
                error=delta.error.kind if delta.error is not None else "",
                counts=counts,
                frame=self._frame([shown]),
            )
        )

    def _show_view(self, view: CoreView) -> None:
        """Nobody waits for it: with Redis away it is dropped, and asked for again."""
        shown = pack(view_of(self.engine, int(self.now_ms()), view))
        with contextlib.suppress(RedisError, OSError):
            self._link.client.set(redis_keys.engine_view(self.engine), shown, px=VIEW_TTL_MS)

    # Once a second

    def _beat(self) -> None:
        """Heartbeat, clock, epoch, checkpoint; then deadlines and dead web processes."""
        lives = self.live.all()
        webs = sorted({live.body.web for live in lives})
        pipeline = self._link.client.pipeline(transaction=False)
        pipeline.time()
        pipeline.set(redis_keys.EPOCH, secrets.token_hex(8), nx=True)
        pipeline.get(redis_keys.EPOCH)
        pipeline.set(redis_keys.engine_beat(self.engine), pack(self._figures()), px=BEAT_TTL_MS)
        for web in webs:
            pipeline.exists(redis_keys.web_beat(web))
        pipeline.expire(redis_keys.control(self.engine), CONTROL_TTL_S)
        self._checkpoint(pipeline, lives)
        clock, _, epoch, _, *rest = pipeline.execute()
        self._offset_ms = clock[0] * 1e3 + clock[1] / 1e3 - time.monotonic() * 1e3
        self._see_epoch(scripts.text(epoch))
        alive = dict(zip(webs, rest, strict=False))
        for live in lives:
            dead = self._link.steady and not alive[live.body.web]
            if dead or live.body.deadline_ms < self.now_ms():
                self._cancel(live)

    def _checkpoint(self, pipeline: Any, lives: list[Live]) -> None:
        changed = [live for live in lives if live.saved != live.generated and live.generated]
        if not changed:
            return
        key = redis_keys.checkpoint(self.engine)
        encode = msgspec.msgpack.encode
        values = {live.body.rid: encode(live.checkpoint()) for live in changed}
        pipeline.hset(key, mapping=values)
        pipeline.expire(key, CHECKPOINT_TTL_S)
        for live in changed:
            live.saved = live.generated

    def _cancel(self, live: Live) -> None:
        if not live.cancelled and self._loop is not None:
            live.cancelled = True
            self._loop.cancel(live.body.rid, Finish.CANCELLED)

    def _see_epoch(self, epoch: str) -> None:
        """Another epoch: the ledger is gone. End everything, and write usage without it."""
        before, self._epoch = self._epoch, epoch
        oldest = time.monotonic() - UNCONFIRMED_S
        if before and before != epoch:
            log.error("redis_data_lost", epoch=epoch, open=len(self.live))
            for live in self.live.all():
                live.orphan = True
                self._cancel(live)
            for ended in self._unconfirmed:
                if ended.at > oldest:
                    self._emit(ended.event)
            self._unconfirmed.clear()
        while self._unconfirmed and self._unconfirmed[0].at <= oldest:
            self._unconfirmed.popleft()

    def _emit(self, event: UsageEvent) -> None:
        self._link.client.xadd(redis_keys.USAGE, {"e": pack(event)})

    def _usage(self, live: Live, delta: Delta) -> UsageEvent:
        return UsageEvent(
            rid=delta.rid,
            finish=_finish(live, delta),
            counts=live.truth(delta.counts),
            attempts=delta.attempt,
            engine=self.engine,
            error=delta.error.kind if delta.error is not None else "",
            ended_ms=int(self.now_ms()),
            bill=_bill(live),
        )

    def _figures(self) -> EngineBeat:
        progress = self.progress
        beat = EngineBeat(
            engine=self.engine,
            model=self.model,
            state=progress.state,
            host=socket.gethostname(),
            pid=os.getpid(),
            epoch=self._epoch,
            started_ms=self._started_ms,
            phase=progress.phase,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            cause=progress.cause,
            fix=progress.fix,
            max_model_len=progress.max_model_len,
            kv_tokens=progress.kv_tokens,
            task=progress.task,
            memory_bytes=resident_bytes(),
        )
        if (loop := self._loop) is not None:
            gauges = loop.core.gauges()
            beat.steps, beat.step_age_ms = loop.turns, loop.age_ms()
            beat.busy_ms = int(loop.busy_s * 1000)
            beat.running, beat.waiting = gauges.running, gauges.waiting
            beat.blocks_total, beat.blocks_free = gauges.blocks_total, gauges.blocks_free
            beat.blocks_cached = gauges.blocks_cached
            beat.adapters = loop.core.adapters()
            beat.lora_slots_used = gauges.lora_slots_used
            beat.lora_slots_total = gauges.lora_slots_total
            beat.counters = msgspec.structs.asdict(loop.core.counters)
            beat.figures = loop.core.figures
            beat.asleep, beat.profiling = loop.core.asleep, loop.trace.running
        return beat


def _finish(live: Live, delta: Delta) -> Finish:
    return Finish.ERROR if delta.kind is EventKind.REFUSED else live.finish()


def _bill(live: Live) -> dict[str, Any]:
    """Empty for an entry that no admission wrote."""
    with contextlib.suppress(msgspec.DecodeError):
        found = decoded(live.bill)
        return found if isinstance(found, dict) else {}
    return {}
