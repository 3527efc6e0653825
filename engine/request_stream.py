"""One request as its handler sees it: the events of whichever attempt is alive.

Frames come in through `push` (the reader task), go out through iteration. Fencing: another attempt
and repeated sequence numbers are dropped, a gap is an error, never silence.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol

from engine import scripts
from engine.errors import EngineLost, InternalError, Overloaded, PagodaError
from engine.messages import (
    Bill,
    Control,
    ControlKind,
    Counts,
    Delta,
    EventKind,
    Finish,
    QueueBody,
)
from engine.script_queue import RedisAway
from engine.wire_errors import rebuild

if TYPE_CHECKING:
    from engine.admission import LimitLeft

MAX_ATTEMPTS = 3
MERGE_FROM = 64  # unread deltas; from here on new tokens join the last one
BUFFER_BYTES = 1 << 20
DELTA_BYTES = 400  # of one delta without its tokens
STOPPED = (Finish.CANCELLED, Finish.LOST, Finish.ERROR)  # deadline passed, engine told to stop


class Post(Protocol):
    def __call__(
        self, call: scripts.Call, *, patience_s: float = math.inf
    ) -> asyncio.Future[Any]: ...


class RequestStream:
    """Iterate for deltas: DELTA…, then END. Raises the refusal, `Overloaded` or `EngineLost`.

    A request whose engine dies starts again by itself while no byte has left. The first delta
    handed out by iteration counts as sent; call `first_byte_sent()` when something leaves before.
    A handler that sends nothing until the end uses `whole()` and is restarted to the last.
    """

    def __init__(
        self, body: QueueBody, bill: Bill, *, post: Post, wait_until: float, wait_s: float,
        dead_at: float, patience_s: float, load_s: float = 0.0,
    ) -> None:  # fmt: skip
        self.rid = body.rid
        self.limits_left: tuple[LimitLeft, ...] = ()
        self.counts: Counts | None = None  # once ended
        self.engine = ""  # id of the engine that owns the current attempt
        self.admitted = False
        self.refused = False  # at admission: nothing to cancel
        self.body, self._bill = body, bill
        self._post = post
        self._wait_until, self._wait_s, self._dead_at = wait_until, wait_s, dead_at
        self._load_s = load_s
        self._patience_s = patience_s
        self._next_seq = 0
        self._deaths = 0
        self._started = False
        self._sent = False
        self._unread: deque[Delta] = deque()
        self._unread_bytes = 0
        self._failure: PagodaError | None = None
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def key_id(self) -> str:
        return self._bill.key_id

    @property
    def attempt(self) -> int:
        return self.body.attempt

    @property
    def ended(self) -> bool:
        """The engine is done with it: there is nothing left to abort."""
        return self._ended

    def first_byte_sent(self) -> None:
        """From now on a dead engine is an error, not a second attempt."""
        self._sent = True

    async def started(self) -> None:
        """Wait until an engine owns the request. Raises its refusal, or `Overloaded` in the end."""
        while not self._started:
            await self._wait()
        if self._failure is not None and not self._unread:
            raise self._failure

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas()

    async def whole(self) -> list[Delta]:
        """All deltas up to END. A restart underneath begins the list anew."""
        deltas: list[Delta] = []
        attempt = self.attempt
        while not deltas or deltas[-1].kind is not EventKind.END:
            delta = await self._take()
            if attempt != self.attempt:
                attempt, deltas = self.attempt, []
            deltas.append(delta)
        return deltas

    async def _deltas(self) -> AsyncIterator[Delta]:
        kind = EventKind.STARTED
        while kind is not EventKind.END:
            delta = await self._take()
            self._sent, kind = True, delta.kind
            yield delta

    async def _take(self) -> Delta:
        while not self._unread:
            await self._wait()
        delta = self._unread.popleft()
        self._unread_bytes -= _cost(delta)
        return delta

    async def _wait(self) -> None:
        """Until something changed. Raises the failure."""
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The reader's side

    def push(self, delta: Delta, engine: str) -> None:
        """Take one event off the wire."""
        if delta.attempt != self.attempt or self._ended or self._failure is not None:
            return
        if delta.kind is EventKind.LOST:  # from the judge, who knows no sequence numbers
            self._lost()
            return
        if delta.seq < self._next_seq:
            return
        if delta.seq > self._next_seq:
            self.fail(EngineLost("A part of the answer was lost on its way."))
            return
        self._next_seq += 1
        self._started, self.engine = True, engine
        if delta.kind is EventKind.REFUSED:
            self._ended, self.counts = True, delta.counts
            self.fail(rebuild(delta.error))
        elif delta.kind is EventKind.END:
            self._ended, self.counts = True, delta.counts
            if any(choice.finish in STOPPED for choice in delta.choices):
                self.fail(Overloaded("The request was stopped by the server.", param="stopped"))
            else:
                self._keep(delta)
        elif delta.kind is EventKind.DELTA:
            self._keep(delta)
        self._wake()

    def fail(self, error: PagodaError) -> None:
        """The reader of this stream gets `error` after what is still unread."""
        if self._failure is None:
            self._failure = error
        self._wake()

    def abort(self, finish: Finish, error: str = "") -> None:
        """Let the engine stop, or take the request back from the queue. Safe to repeat."""
        control = Control(kind=ControlKind.ABORT, rid=self.rid, attempt=self.attempt)
        self._post(scripts.cancel(self.rid, control, finish, error))

    def overdue(self, now: float) -> PagodaError | None:
        """The error to fail with when no engine came in time, or none ended it in time."""
        if self._failure is not None or self._ended or not self.admitted:
            return None
        if not self._started and now > self._wait_until:
            return Overloaded(
                f"No engine took the request within {self._wait_s:g} s. Try again later.",
                param="queue_wait",
                retry_after_s=max(min(self._wait_s, 5.0), self._load_s - self._wait_s),
            )
        return EngineLost("The request passed its deadline.") if now > self._dead_at else None

    def _keep(self, delta: Delta) -> None:
        merged = len(self._unread) >= MERGE_FROM and _merged(self._unread[-1], delta)
        if not merged:
            self._unread.append(delta)
        self._unread_bytes += _cost(delta) - (DELTA_BYTES if merged else 0)
        if self._unread_bytes > BUFFER_BYTES:
            self._cut_off()

    def _cut_off(self) -> None:
        """A reader this slow gets no more: its handler may sit in a blocked write for long, so
        memory goes and the engine stops now."""
        self._unread.clear()
        self._unread_bytes = 0
        self.fail(Overloaded("The answer was read too slowly.", param="slow_reader"))
        self.abort(Finish.CANCELLED)

    # A dead engine

    def _lost(self) -> None:
        self._deaths += 1
        body = self.body
        may_restart = (
            not self._sent
            and body.attempt < MAX_ATTEMPTS
            and self._deaths < scripts.MAX_DEATHS
            and time.monotonic() < self._dead_at - 5
        )
        if not may_restart:
            self._give_up()
            return
        body.attempt += 1
        self._next_seq, self._started = 0, False
        self._unread.clear()
        self._unread_bytes = 0
        self._wait_until = time.monotonic() + self._wait_s
        future = self._post(scripts.requeue(body, self._bill), patience_s=self._patience_s)
        future.add_done_callback(self._requeued)

    def _requeued(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, RedisAway):  # it may have happened or not: leaving cancels both
            self.fail(EngineLost("The engine died and the queue cannot be reached."))
        elif error is not None:
            self.fail(InternalError(f"Request {self.rid} could not be queued again."))
        elif scripts.text(future.result()[0]) != "OK":
            self.body.attempt -= 1  # poison, or ended by the reconciler
            self._give_up()

    def _give_up(self) -> None:
        ending = scripts.Ending(
            rid=self.rid,
            attempt=self.attempt,
            web=self.body.web,
            finish=Finish.LOST,
            who="lost",
            error="EngineLost",
        )
        self._post(scripts.terminal(ending))
        self._ended = True
        self.fail(EngineLost("The engine died while it was answering."))


def _cost(delta: Delta) -> int:
    """Rough bytes of an unread delta in this process; the parts of merged deltas add up."""
    total = DELTA_BYTES
    for choice in delta.choices:
        total += 40 * len(choice.token_ids)
        if choice.logprobs:
            total += sum(120 * len(candidates) for candidates in choice.logprobs)
    return total


def _merged(last: Delta, new: Delta) -> bool:
    """Join what `new` brings to an unread delta. False when they must stay apart."""
    if last.kind is not EventKind.DELTA or new.kind is not EventKind.DELTA:
        return False
    if new.prompt_logprobs is not None:
        return False
    known = {choice.index: choice for choice in last.choices}
    for more in new.choices:
        into = known.get(more.index)
        if into is None:
            last.choices.append(more)
            continue
        into.extend(more)
    return True
