"""Which adapters an engine knows, where their weights are, and who may use a slot now.

Three places: disk (always), host memory (bounded, least recently used leaves), slots (a fixed
number for each rank bucket). Reading happens on a thread of its own; everything else is called by
the thread that drives the core, between steps. Fairness: the scheduler asks in order of arrival.
Rows whose adapter has a slot may start before older ones that wait for a slot or for memory, since
together they cost that adapter's turn little; after `PATIENCE` of them the adapter's turn is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.errors import ModelNotFound, Overloaded, PagodaError
from engine.lora.layout import BUCKETS, bucket_of
from engine.lora.loader import Loader, Outcome
from engine.messages import AdapterBeat, AdapterSource, AdapterState, Residency
from engine.scheduler.plan import SlotChange

PATIENCE = 16  # rows that an adapter with a slot may start past those that wait for one
EXPECT_S = 10.0  # a request may be quicker than its adapter's load message, by this much


class HostWeights(Protocol):
    """What a reader returns: weights in host memory."""

    @property
    def rank(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterLimits:
    """Sizes, resolved for model and machine."""

    max_loras: int = 8  # slots of each rank bucket
    max_rank: int = 64
    max_host: int | None = None  # adapters in host memory
    host_bytes: int = 1 << 62

    @property
    def buckets(self) -> tuple[int, ...]:
        return tuple(b for b in BUCKETS if b <= bucket_of(self.max_rank))

    @property
    def num_slots(self) -> int:
        """Slot ids run over all buckets, smallest rank first."""
        return len(self.buckets) * self.max_loras


@dataclass(slots=True, eq=False)
class _Adapter:
    source: AdapterSource
    state: AdapterState = AdapterState.LOADING
    cause: str = ""
    expires_s: float = 0.0  # no load message yet: requests wait until then
    rank: int = 0
    nbytes: int = 0
    hits: int = 0
    requests: int = 0  # accepted and not ended
    running: int = 0  # rows
    slot: int = -1
    reading: bool = False
    fresh: bool = False  # read for a request that has no row yet: not to be evicted
    overtakes: int = 0  # rows it has started past waiting rivals
    used: int = 0  # turn of the last use

    @property
    def bucket(self) -> int:
        return bucket_of(self.rank)


@dataclass(slots=True)
class AdapterManager:
    """Owned by one core. `hosts` is read by the runner, which shares the core's thread."""

    limits: AdapterLimits
    read: Callable[[AdapterSource], HostWeights]
    clock: Callable[[], float] = time.monotonic
    hosts: dict[str, Any] = field(default_factory=dict)
    _adapters: dict[str, _Adapter] = field(default_factory=dict)
    _slots: dict[int, _Adapter] = field(default_factory=dict)
    _buckets: set[int] = field(default_factory=set)  # in use so far
    _changes: list[SlotChange] = field(default_factory=list)
    _blocked: list[_Adapter] = field(default_factory=list)  # passed over in this planning pass
    _doubtful: set[_Adapter] = field(default_factory=set)  # failed now, or not announced yet
    _loader: Loader | None = None
    _turn: int = 0

    # What is known

    def register(self, source: AdapterSource) -> None:
        """Know an adapter from now on and read it. A known digest takes the new name and pin."""
        adapter = self._adapters.get(source.digest)
        if adapter is None:
            adapter = self._adapters[source.digest] = _Adapter(source)
        adapter.source, adapter.expires_s, adapter.cause = source, 0.0, ""
        needed = source.pinned or adapter.state is AdapterState.FAILED
        if adapter.rank and not (needed and source.digest not in self.hosts):
            adapter.state = AdapterState.READY
            return
        if adapter.state is not AdapterState.READY:
            adapter.state = AdapterState.LOADING
        self._start_reading(adapter)

    def unregister(self, digest: str) -> None:
        """Take no new requests; forget it when the last has ended. Unknown: nothing to do."""
        if (adapter := self._adapters.get(digest)) is not None:
            adapter.state = AdapterState.DRAINING
            self._forget_if_done(adapter)

    def accept(self, digest: str) -> None:
        """Count a new request in. Raises when its adapter is not to be had."""
        adapter = self._adapters.get(digest)
        if adapter is None:
            adapter = self._adapters[digest] = _Adapter(AdapterSource(digest=digest))
            adapter.expires_s = self.clock() + EXPECT_S
            self._doubtful.add(adapter)
        if adapter.state is AdapterState.DRAINING:
            raise ModelNotFound(f"The adapter {_name(adapter)} is being unloaded.", param="model")
        if adapter.state is AdapterState.FAILED:
            raise _failed(adapter)
        adapter.requests += 1
        adapter.hits += 1

    def leave(self, digest: str) -> None:
        """A request has ended."""
        adapter = self._adapters[digest]
        adapter.requests -= 1
        if not adapter.requests:
            adapter.fresh = False
        self._forget_if_done(adapter)

    def beats(self) -> list[AdapterBeat]:
        """For the heartbeat; may be called by another thread."""
        return [self._beat(a) for a in list(self._adapters.values()) if not a.expires_s]

    @property
    def slots_used(self) -> int:
        return len(self._slots)

    @property
    def slots_total(self) -> int:
        return len(self._buckets) * self.limits.max_loras

    @property
    def host_bytes(self) -> int:
        return sum(self._adapters[digest].nbytes for digest in self.hosts)

    # Reading

    @property
    def has_work(self) -> bool:
        """Something is being read, or a slot is to be cleared: steps are due without requests."""
        return bool(self._changes) or (self._loader is not None and self._loader.pending > 0)

    def wait(self, timeout_s: float) -> None:
        """Until something has been read, at most so long."""
        if self._loader is not None:
            self._loader.wait(timeout_s)
        else:
            time.sleep(timeout_s)

    def poll(self) -> list[tuple[str, PagodaError]]:
        """Take what the loader has read. Returns adapters whose waiting requests must end."""
        if self._loader is not None and self._loader.pending:
            for outcome in self._loader.take():
                self._arrived(outcome)
        if not self._doubtful:
            return []
        lost = [(a.source.digest, error) for a in self._doubtful if (error := self._lost(a))]
        self._doubtful = {a for a in self._doubtful if a.expires_s and a.requests}
        return lost

    def close(self) -> None:
        """End the loader and give the memory back."""
        if self._loader is not None:
            self._loader.close()
        self.hosts.clear()

    def _lost(self, adapter: _Adapter) -> PagodaError | None:
        """Why requests for this adapter will never run here, if so."""
        if not adapter.requests:
            return None
        if adapter.state is AdapterState.FAILED:
            return _failed(adapter)
        if adapter.expires_s and self.clock() >= adapter.expires_s:
            return ModelNotFound(
                f"The adapter {_name(adapter)} is not loaded in this engine.", param="model"
            )
        return None

    def _start_reading(self, adapter: _Adapter) -> None:
        if adapter.reading:
            return
        if self._loader is None:
            self._loader = Loader(self.read)
        adapter.reading = True
        self._loader.put(adapter.source)

    def _arrived(self, outcome: Outcome) -> None:
        digest = outcome.source.digest
        adapter = self._adapters.get(digest)
        if adapter is None:
            return  # unloaded meanwhile
        adapter.reading = False
        if outcome.weights is None:
            self._fail(adapter, outcome.cause)
            return
        if outcome.weights.nbytes > self.limits.host_bytes:
            self._fail(adapter, _too_big(outcome.weights.nbytes, self.limits.host_bytes))
            return
        adapter.rank, adapter.nbytes = outcome.weights.rank, outcome.weights.nbytes
        if adapter.state is AdapterState.LOADING:
            adapter.state = AdapterState.READY
        if digest in self.hosts or self._make_room(adapter):
            self.hosts[digest] = outcome.weights
            self._buckets.add(adapter.bucket)
            adapter.fresh = adapter.requests > adapter.running
            self._touch(adapter)
        elif adapter.source.pinned:
            self._fail(adapter, f"The memory for adapters is full of pinned ones: {_words(self)}.")

    def _fail(self, adapter: _Adapter, cause: str) -> None:
        adapter.state, adapter.cause = AdapterState.FAILED, cause
        self._doubtful.add(adapter)

    def _make_room(self, adapter: _Adapter) -> bool:
        """Let others leave host memory until this one fits. False: nobody may leave now."""
        while not self._fits(adapter):
            idle = [a for a in map(self._adapters.__getitem__, self.hosts) if _may_leave(a)]
            if not idle:
                return False
            self._evict(min(idle, key=lambda a: a.used))
        return True

    def _fits(self, adapter: _Adapter) -> bool:
        """Beside what is there and what is being read."""
        coming = [a for a in self._adapters.values() if a.reading and a is not adapter]
        num_bytes = self.host_bytes + adapter.nbytes + sum(a.nbytes for a in coming)
        count = len(self.hosts) + len(coming) + 1
        limits = self.limits
        return num_bytes <= limits.host_bytes and count <= (limits.max_host or count)

    def _evict(self, adapter: _Adapter) -> None:
        self._clear_slot(adapter)
        del self.hosts[adapter.source.digest]

    # Slots

    def begin_pass(self) -> None:
        """The scheduler starts to ask, best request first."""
        self._blocked.clear()

    def can_seat(self, digest: str) -> bool:
        """May a row of this adapter start now? A no may set things going for a later yes."""
        adapter = self._adapters[digest]
        on_host = digest in self.hosts
        if on_host and (adapter.slot >= 0 or self._slot_for(adapter) is not None):
            in_turn = adapter.slot < 0 or adapter.overtakes < PATIENCE
            return in_turn or not self._has_rivals(adapter)
        absent = not (on_host or adapter.reading or adapter.expires_s)
        if absent and (not adapter.rank or self._make_room(adapter)):
            self._start_reading(adapter)
        if not adapter.reading and not adapter.expires_s:
            self._blocked.append(adapter)
        return False

    def seat(self, digest: str) -> int:
        """Give a row the adapter's slot, filling one if need be. Call after `can_seat`."""
        adapter = self._adapters[digest]
        if adapter.slot < 0:
            slot = self._slot_for(adapter)
            assert slot is not None
            if (before := self._slots.get(slot)) is not None:
                before.slot = -1
            self._slots[slot], adapter.slot, adapter.overtakes = adapter, slot, 0
            self._changes.append(SlotChange(slot, digest))
        adapter.running += 1
        adapter.fresh = False
        self._touch(adapter)
        adapter.overtakes = adapter.overtakes + 1 if self._has_rivals(adapter) else 0
        return adapter.slot

    def _has_rivals(self, adapter: _Adapter) -> bool:
        """Does somebody passed over wait for what this adapter keeps busy?"""
        return any(
            other.source.digest not in self.hosts or other.bucket == adapter.bucket
            for other in self._blocked
            if other is not adapter
        )

    def unseat(self, digest: str) -> None:
        """A row has ended or was preempted; the slot keeps the adapter until it is needed."""
        self._adapters[digest].running -= 1

    def refill(self) -> None:
        """Fill every slot again: nobody knows what a step that failed has done."""
        self._changes = [SlotChange(slot, a.source.digest) for slot, a in self._slots.items()]

    @property
    def has_changes(self) -> bool:
        return bool(self._changes)

    def take_changes(self) -> list[SlotChange]:
        """Slots to fill or clear before the next step."""
        changes, self._changes = self._changes, []
        return changes

    def _slot_for(self, adapter: _Adapter) -> int | None:
        """A free slot of its bucket, else that of the idle adapter used longest ago."""
        first = self.limits.buckets.index(adapter.bucket) * self.limits.max_loras
        slots = range(first, first + self.limits.max_loras)
        for slot in slots:
            if slot not in self._slots:
                return slot
        idle = [slot for slot in slots if not self._slots[slot].running]
        return min(idle, key=lambda s: _slot_order(self._slots[s]), default=None)

    def _clear_slot(self, adapter: _Adapter) -> None:
        if adapter.slot >= 0:
            del self._slots[adapter.slot]
            self._changes = [change for change in self._changes if change.slot != adapter.slot]
            self._changes.append(SlotChange(adapter.slot, None))
            adapter.slot = -1

    def _forget_if_done(self, adapter: _Adapter) -> None:
        if adapter.requests:
            return
        digest = adapter.source.digest
        if adapter.state is AdapterState.DRAINING or adapter.expires_s:
            self._clear_slot(adapter)
            self.hosts.pop(digest, None)
            del self._adapters[digest]

    def _touch(self, adapter: _Adapter) -> None:
        self._turn += 1
        adapter.used = self._turn

    def _beat(self, adapter: _Adapter) -> AdapterBeat:
        on_host = adapter.source.digest in self.hosts
        return AdapterBeat(
            digest=adapter.source.digest,
            name=adapter.source.name,
            state=adapter.state,
            residency=(
                Residency.SLOT if adapter.slot >= 0
                else Residency.HOST if on_host else Residency.DISK
            ),
            rank=adapter.rank,
            bytes=adapter.nbytes,
            hits=adapter.hits,
            pinned=adapter.source.pinned,
            cause=adapter.cause,
        )  # fmt: skip


def _may_leave(adapter: _Adapter) -> bool:
    return not (adapter.running or adapter.fresh or adapter.source.pinned)


def _slot_order(adapter: _Adapter) -> tuple[bool, int]:
    """Pinned adapters give up a slot last."""
    return adapter.source.pinned, adapter.used


def _name(adapter: _Adapter) -> str:
    return repr(adapter.source.name or adapter.source.digest[:12])


def _failed(adapter: _Adapter) -> PagodaError:
    return Overloaded(f"The adapter {_name(adapter)} could not be loaded: {adapter.cause}")


def _too_big(num_bytes: int, limit: int) -> str:
    return f"Its weights take {num_bytes} bytes; adapters may take {limit} in host memory."


def _words(manager: AdapterManager) -> str:
    return (
        f"{manager.host_bytes} of {manager.limits.host_bytes} bytes, {len(manager.hosts)} adapters"
    )
