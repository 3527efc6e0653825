"""Who is known, who is read, who gets a slot; with a reader that tests control."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from engine.errors import EngineStartError, ModelNotFound, Overloaded
from engine.lora.manager import EXPECT_S, PATIENCE, AdapterLimits, AdapterManager
from engine.messages import AdapterBeat, AdapterSource, AdapterState, Residency
from engine.scheduler.plan import SlotChange


@dataclass
class Weights:
    rank: int
    nbytes: int


@dataclass
class Shelf:
    """A disk: digest → weights, or a cause. `gate` holds the reading thread back."""

    weights: dict[str, Weights] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def read(self, source: AdapterSource) -> Weights:
        assert self.gate.wait(30)
        self.reads.append(source.digest)
        if source.digest not in self.weights:
            raise EngineStartError("It is broken.", "Mend it.")
        return self.weights[source.digest]


class World:
    """A manager with adapters a, b, c … of rank 8 and 10 bytes, and x of rank 16."""

    def __init__(self, **limits: int) -> None:
        self.shelf, self.now = Shelf(), 0.0
        self.shelf.gate.set()
        self.shelf.weights = {name: Weights(8, 10) for name in "abcdefgh"} | {"x": Weights(16, 10)}
        self.manager = AdapterManager(
            AdapterLimits(**({"max_loras": 2} | limits)), self.shelf.read, clock=lambda: self.now
        )

    def register(self, *digests: str, pinned: bool = False) -> None:
        for digest in digests:
            self.manager.register(AdapterSource(digest=digest, name=f"<{digest}>", pinned=pinned))
        self.settle()

    def settle(self) -> None:
        while self.manager.has_work:
            self.manager.wait(1.0)
            self.manager.poll()
            self.manager.take_changes()

    def beat(self, digest: str) -> AdapterBeat:
        return next(beat for beat in self.manager.beats() if beat.digest == digest)

    def run(self, *digests: str) -> list[str]:
        """One planning pass over requests in order; those that got a row."""
        self.manager.begin_pass()
        seated, blocked = [], set()
        for digest in digests:
            if digest not in blocked and self.manager.can_seat(digest):
                self.manager.seat(digest)
                seated.append(digest)
            else:
                blocked.add(digest)
        return seated

    def end(self, digest: str) -> None:
        self.manager.unseat(digest)
        self.manager.leave(digest)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.shelf.gate.set()
    world.manager.close()


def test_nothing_is_allocated_before_an_adapter_is_registered(world):
    assert (world.manager.slots_total, world.manager.hosts, world.manager.has_work) == (
        0,
        {},
        False,
    )
    world.register("a")
    assert world.manager.slots_total == 2


def test_a_registered_adapter_is_read_and_told(world):
    world.shelf.gate.clear()
    world.manager.register(AdapterSource(digest="a", name="pirate"))
    assert world.beat("a").state is AdapterState.LOADING
    world.shelf.gate.set()
    world.settle()
    beat = world.beat("a")
    assert (beat.state, beat.residency, beat.rank) == (AdapterState.READY, Residency.HOST, 8)


def test_registering_again_takes_the_new_name_and_pin_without_reading(world):
    world.register("a")
    world.manager.register(AdapterSource(digest="a", name="corsair", pinned=True))
    assert (world.beat("a").name, world.beat("a").pinned, world.shelf.reads) == (
        "corsair", True, ["a"],
    )  # fmt: skip


def test_a_broken_adapter_fails_with_its_cause_and_may_be_tried_again(world):
    world.register("broken")
    assert (world.beat("broken").state, world.beat("broken").cause) == (
        AdapterState.FAILED, "It is broken.",
    )  # fmt: skip
    with pytest.raises(Overloaded, match="'<broken>' could not be loaded: It is broken"):
        world.manager.accept("broken")
    world.shelf.weights["broken"] = Weights(8, 1)
    world.register("broken")
    assert world.beat("broken").state is AdapterState.READY


def test_requests_that_wait_for_a_broken_adapter_end(world):
    world.shelf.gate.clear()
    world.manager.register(AdapterSource(digest="broken"))
    world.manager.accept("broken")
    assert world.run("broken") == []
    world.shelf.gate.set()
    lost = []
    while not lost:
        world.manager.wait(1.0)
        lost = world.manager.poll()
    assert [(digest, type(error)) for digest, error in lost] == [("broken", Overloaded)]


def test_a_request_before_its_load_message_waits_and_then_ends(world):
    world.manager.accept("a")
    assert world.run("a") == []
    assert world.manager.beats() == []
    world.now = EXPECT_S - 0.1
    assert world.manager.poll() == []
    world.now = EXPECT_S
    ((digest, error),) = world.manager.poll()
    assert (digest, type(error)) == ("a", ModelNotFound)
    world.manager.leave("a")
    assert world.manager.poll() == []


def test_a_load_message_in_time_lets_the_request_run(world):
    world.manager.accept("a")
    world.register("a")
    world.now = EXPECT_S + 1
    assert world.manager.poll() == []
    assert world.run("a") == ["a"]


def test_unload_refuses_new_requests_and_forgets_after_the_last(world):
    world.register("a")
    world.manager.accept("a")
    assert world.run("a") == ["a"]
    world.manager.take_changes()
    world.manager.unregister("a")
    world.manager.unregister("a")
    with pytest.raises(ModelNotFound, match="being unloaded"):
        world.manager.accept("a")
    assert world.beat("a").state is AdapterState.DRAINING
    world.end("a")
    assert world.manager.take_changes() == [SlotChange(0, None)]
    assert (world.manager.beats(), world.manager.hosts, world.manager.slots_used) == ([], {}, 0)


def test_unload_of_an_unknown_adapter_is_no_error(world):
    world.manager.unregister("never")


def test_load_during_the_drain_keeps_the_adapter(world):
    world.register("a")
    world.manager.accept("a")
    world.manager.unregister("a")
    world.register("a")
    world.manager.leave("a")
    assert world.beat("a").state is AdapterState.READY


def test_rows_of_one_adapter_share_a_slot_and_an_idle_one_gives_it_up(world):
    world.register("a", "b", "c")
    for digest in ("a", "a", "b", "c"):
        world.manager.accept(digest)
    assert world.run("a", "a", "b", "c") == ["a", "a", "b"]
    assert world.manager.take_changes() == [SlotChange(0, "a"), SlotChange(1, "b")]
    world.end("a")
    assert world.run("c") == [], "a still has a row"
    world.end("b")
    assert world.run("c") == ["c"]
    assert world.manager.take_changes() == [SlotChange(1, "c")]
    assert world.beat("b").residency is Residency.HOST


def test_rank_buckets_have_slots_of_their_own(world):
    world.register("a", "b", "x")
    for digest in "abx":
        world.manager.accept(digest)
    assert world.run("a", "b", "x") == ["a", "b", "x"]
    assert world.manager.take_changes()[-1] == SlotChange(2, "x")
    assert (world.manager.slots_used, world.manager.slots_total) == (3, 4)


def test_pinned_adapters_keep_their_slots_longest(world):
    world.register("a", pinned=True)
    world.register("b", "c")
    for digest in ("a", "b", "c"):
        world.manager.accept(digest)
    world.run("a", "b")
    world.manager.unseat("a")
    world.manager.unseat("b")
    world.run("c")
    assert (world.beat("a").residency, world.beat("b").residency) == (
        Residency.SLOT, Residency.HOST,
    )  # fmt: skip


def test_an_adapter_with_a_slot_overtakes_for_one_turn_only(world):
    """a and b always have the next request; c, older than those, still gets a slot."""
    world.register("a", "b", "c")
    for digest in "ab":
        world.manager.accept(digest)
    world.run("a", "b")
    world.manager.accept("c")
    turns = 0
    while not world.run("c"):
        for digest in "ab":
            world.manager.accept(digest)
            seated = world.run("c", digest)
            if digest in seated:
                world.end(digest)  # the newer of its two rows
            else:
                world.end(digest)  # nobody follows any more: the row runs out
                world.manager.leave(digest)
        turns += 1
        assert turns <= PATIENCE + 1
    assert turns >= PATIENCE, "it was overtaken less than it may be"


def test_requests_join_the_turn_of_their_adapter(world):
    """Eight requests each of four times as many adapters as slots: four full waves."""
    names = "abcdefgh"
    world.register(*names)
    queue = [*names] * 8
    for digest in queue:
        world.manager.accept(digest)
    for wave in ("ab", "cd", "ef", "gh"):
        seated = world.run(*queue)
        assert sorted(seated) == sorted([*wave] * 8)
        for digest in seated:
            queue.remove(digest)
            world.end(digest)


def test_host_memory_is_bounded_and_the_least_used_leaves():
    world = World(host_bytes=25)
    world.register("a", "b")
    world.manager.accept("a")
    world.run("a")
    world.end("a")
    world.register("c")
    assert (world.beat("b").residency, world.beat("a").residency) == (
        Residency.DISK, Residency.SLOT,
    )  # fmt: skip
    assert world.manager.host_bytes == 20
    world.manager.accept("b")
    assert world.run("b") == []  # starts to read it again
    world.settle()
    assert world.run("b") == ["b"]
    assert world.shelf.reads == ["a", "b", "c", "b"]
    world.manager.close()


def test_pinned_adapters_never_leave_and_what_cannot_fit_fails_with_numbers():
    world = World(host_bytes=25)
    world.register("a", "b", pinned=True)
    world.register("c")
    assert world.beat("c").residency is Residency.DISK
    world.register("d", pinned=True)
    assert "full of pinned ones: 20 of 25 bytes" in world.beat("d").cause
    world.shelf.weights["big"] = Weights(8, 26)
    world.register("big")
    assert world.beat("big").cause == (
        "Its weights take 26 bytes; adapters may take 25 in host memory."
    )
    world.manager.close()


def test_count_of_adapters_in_memory_is_bounded_too():
    world = World(max_host=1)
    world.register("a", "b")
    assert list(world.manager.hosts) == ["b"]
    world.manager.close()


def test_a_failed_step_fills_its_slots_again(world):
    world.register("a")
    world.manager.accept("a")
    world.run("a")
    world.manager.take_changes()
    world.manager.refill()
    assert world.manager.take_changes() == [SlotChange(0, "a")]


def test_a_slot_that_is_cleared_before_it_was_filled_again_is_only_cleared(world):
    world.register("a")
    world.manager.accept("a")
    world.run("a")
    world.manager.take_changes()
    world.end("a")
    world.manager.refill()
    world.manager.unregister("a")
    assert "a" not in world.manager.hosts
    assert world.manager.take_changes() == [SlotChange(0, None)]


@pytest.mark.parametrize(("digest", "pinned"), [("big", False), ("d", True)])
def test_what_could_not_be_kept_is_not_ready_when_it_is_tried_again(digest, pinned):
    world = World(host_bytes=25)
    world.register("a", "b", pinned=True)
    world.shelf.weights["big"] = Weights(8, 26)
    world.register(digest, pinned=pinned)
    assert world.beat(digest).state is AdapterState.FAILED
    world.shelf.gate.clear()
    world.manager.register(AdapterSource(digest=digest, pinned=pinned))
    assert world.beat(digest).state is AdapterState.LOADING
    world.shelf.gate.set()
    world.settle()
    assert world.beat(digest).state is AdapterState.FAILED
    world.manager.close()


def test_files_that_are_gone_since_are_looked_for_again_before_it_is_ready():
    world = World(max_host=1)
    world.register("a", "b")
    del world.shelf.weights["a"]
    world.manager.accept("a")
    world.run("a")
    world.settle()
    world.register("a")
    assert world.beat("a").state is AdapterState.FAILED
    world.manager.close()
