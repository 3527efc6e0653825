"""A thread that reads adapters from disk, so that no step waits for one."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineStartError
from engine.logs import event_log
from engine.messages import AdapterSource

log = event_log(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one read: weights, or a cause."""

    source: AdapterSource
    weights: Any = None
    cause: str = ""


class Loader:
    """Reads in the order of `put`; `take` gives what is done. Made when first needed."""

    def __init__(self, read: Callable[[AdapterSource], Any]) -> None:
        self.pending = 0  # put and not taken; changed by the caller's thread alone
        self._read = read
        self._orders: queue.SimpleQueue[AdapterSource | None] = queue.SimpleQueue()
        self._done: deque[Outcome] = deque()
        self._arrived = threading.Event()
        self._thread = threading.Thread(target=self._run, name="adapter-loader", daemon=True)
        self._thread.start()

    def put(self, source: AdapterSource) -> None:
        self.pending += 1
        self._orders.put(source)

    def take(self) -> list[Outcome]:
        self._arrived.clear()
        found = []
        while self._done:
            found.append(self._done.popleft())
        self.pending -= len(found)
        return found

    def wait(self, timeout_s: float) -> None:
        """Until something can be taken, at most so long."""
        self._arrived.wait(timeout_s)

    def close(self) -> None:
        """Finish the read under way, then end the thread."""
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (source := self._orders.get()) is not None:
            self._done.append(self._outcome(source))
            self._arrived.set()

    def _outcome(self, source: AdapterSource) -> Outcome:
        try:
            return Outcome(source, self._read(source))
        except EngineStartError as error:
            return Outcome(source, cause=error.cause)
        except OSError as error:
            return Outcome(source, cause=f"Its files cannot be read: {error.strerror or error}.")
        except Exception:
            log.exception("adapter_not_read", digest=source.digest)
            return Outcome(source, cause="Reading it failed. The engine's log says why.")
