"""Drives a `Core` on one thread; everybody else talks to it through an inbox.

The loop never waits on Redis. Without work it is blocked on an event.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from engine.core_contract import Core
from engine.logs import event_log
from engine.messages import AdapterSource, Delta, Finish, QueueBody
from engine.step_trace import StepTrace
from engine.view import CoreView

OnView = Callable[[CoreView], None]
Act = Callable[[Core], object]
IDLE_WAIT_S = 1.0
log = event_log(__name__)


class StepLoop:
    """`submit` is for one thread, `run` for another; `cancel` may be called by any."""

    def __init__(self, core: Core, name: str = "engine") -> None:
        self.core = core
        self.trace = StepTrace(name)
        self.turns = 0
        self.busy_s = 0.0  # of all steps
        self._inbox: deque[QueueBody | AdapterSource | tuple[str, Finish | None] | Act] = deque()
        self._then_asleep: Callable[[], None] | None = None  # sleep is wanted
        self._width_in = 0  # sequences submitted; written by the reader thread alone
        self._width_out = 0  # of those, handed to the core; written by the loop alone
        self._event = threading.Event()
        self._stopping = False
        self._turned_at: float | None = None  # None while idle

    def submit(self, body: QueueBody) -> None:
        self._width_in += body.width
        self._inbox.append(body)
        self._event.set()

    def cancel(self, rid: str, finish: Finish) -> None:
        self._inbox.append((rid, finish))
        self._event.set()

    def load_adapter(self, source: AdapterSource) -> None:
        self._inbox.append(source)
        self._event.set()

    def unload_adapter(self, digest: str) -> None:
        self._inbox.append((digest, None))
        self._event.set()

    def view(self, then: OnView) -> None:
        """Look into the core between two steps; `then` gets the copies on the loop's thread."""
        self._between_steps(lambda core: then(core.view()))

    def forget_prefixes(self) -> None:
        """Prompts to come share nothing with those before."""
        self._between_steps(lambda core: core.reset_prefix_cache())

    def sleep(self, then: Callable[[], None]) -> None:
        """Give the KV cache's memory back as soon as there is nothing to do; then `then` is called,
        on the loop's thread. Whoever calls this submits nothing more before `wake_up`."""

        def wanted(_core: Core) -> None:
            self._then_asleep = then

        self._between_steps(wanted)

    def wake_up(self, then: Callable[[], None]) -> None:
        """Take the memory again before what is submitted after this, then call `then`."""

        def awake(core: Core) -> None:
            self._then_asleep = None
            core.wake_up()
            then()

        self._between_steps(awake)

    def profile(self, *, on: bool, then: Callable[[], None]) -> None:
        """Trace the steps from now on, or write the trace down; then call `then`, on the loop's
        thread. What cannot be done is logged: the steps go on."""

        def switch(_core: Core) -> None:
            try:
                if on is not self.trace.running:
                    self.trace.start() if on else self.trace.stop()
            except Exception as error:
                log.exception("profile_failed", cause=type(error).__name__)
            then()

        self._between_steps(switch)

    def _between_steps(self, act: Act) -> None:
        self._inbox.append(act)
        self._event.set()

    def stop(self) -> None:
        """Let `run` return after its current step."""
        self._stopping = True
        self._event.set()

    def credit(self) -> int:
        """Sequences that may be read from the queue now."""
        return max(0, self.core.credit() - (self._width_in - self._width_out))

    def age_ms(self) -> int:
        """Since the loop last turned; 0 while it has nothing to do."""
        turned_at = self._turned_at
        return 0 if turned_at is None else int((time.monotonic() - turned_at) * 1000)

    def run(self, deliver: Callable[[list[Delta]], None]) -> None:
        """Step while there is work, hand every step's deltas to `deliver`, until `stop()`."""
        core = self.core
        while not self._stopping:
            self._event.clear()
            self._drain_inbox()
            if not core.has_work():
                self._turned_at = None
                self._fall_asleep()
                self._event.wait(IDLE_WAIT_S)
                continue
            self._turned_at = time.monotonic()
            if deltas := core.step():
                deliver(deltas)
            self.turns += 1
            self.busy_s += time.monotonic() - self._turned_at

    def _fall_asleep(self) -> None:
        if (then := self._then_asleep) is not None:
            self._then_asleep = None
            self.core.sleep()
            then()

    def _drain_inbox(self) -> None:
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, QueueBody):
                self.core.submit(item)
                self._width_out += item.width
            elif isinstance(item, AdapterSource):
                self.core.load_adapter(item)
            elif callable(item):
                item(self.core)
            elif item[1] is None:
                self.core.unload_adapter(item[0])
            else:
                self.core.cancel(item[0], item[1])
