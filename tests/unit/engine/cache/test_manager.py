from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.cache.manager import CacheEntry, CacheManager, Held, KVGroup

BLOCK, BLOCKS = 4, 14
ROOT = b"root"


def make_manager(blocks: int = BLOCKS, **options: bool) -> CacheManager:
    return CacheManager([KVGroup(block_tokens=BLOCK, num_blocks=blocks)], **options)


def admit(manager: CacheManager, tokens: list[int], *, reads: bool = True) -> CacheEntry:
    entry = manager.new_entry(ROOT, reads_prefix=reads)
    hit = manager.find(entry, tokens)
    assert manager.can_allocate(hit, len(tokens))
    manager.allocate(entry, hit, len(tokens))
    return entry


@dataclass
class Live:
    entry: CacheEntry
    tokens: list[int]
    computed: int


class ManagerAgainstModel(RuleBasedStateMachine):
    """Sequences over a two-letter alphabet, so that prefixes meet all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = make_manager()
        self.live: list[Live] = []
        self.held: list[tuple[Held, list[int]]] = []
        self.content: dict[int, tuple[int, ...]] = {}  # block → prefix whose KV it ends

    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=20))
    def admit(self, tokens: list[int]) -> None:
        entry = self.manager.new_entry(ROOT, reads_prefix=True)
        hit = self.manager.find(entry, tokens)
        assert hit.num_tokens < len(tokens)
        for i, block in enumerate(hit.blocks[0]):
            assert self.content[block] == tuple(tokens[: (i + 1) * BLOCK])
        free = self.manager.num_free
        if not self.manager.can_allocate(hit, len(tokens)):
            assert self.manager.num_free == free
            return
        self.manager.allocate(entry, hit, len(tokens))
        self.live.append(Live(entry, tokens, hit.num_tokens))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def compute(self, data: st.DataObject) -> None:
        live = data.draw(st.sampled_from(self.live))
        live.computed = data.draw(st.integers(live.computed, len(live.tokens)))
        for i, block in enumerate(live.entry.blocks[0][: live.computed // BLOCK]):
            self.content[block] = tuple(live.tokens[: (i + 1) * BLOCK])
        self.manager.commit(live.entry, live.tokens, live.computed)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), token=st.integers(0, 1))
    def decode(self, data: st.DataObject, token: int) -> None:
        live = data.draw(st.sampled_from(self.live))
        live.tokens.append(token)
        if self.manager.can_grow(1):
            self.manager.grow(live.entry, len(live.tokens))
            assert self.manager.room(live.entry) >= len(live.tokens)
        else:
            live.tokens.pop()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        live = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        self.manager.release(live.entry)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        live = data.draw(st.sampled_from(self.live))
        if live.computed:
            prompt = live.tokens[: live.computed]
            self.held.append((self.manager.hold(live.entry, live.computed), prompt))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        held, prompt = data.draw(st.sampled_from(self.held))
        if not self.manager.can_grow(1):
            return
        entry = self.manager.new_entry(ROOT, reads_prefix=True)
        ((source, target),) = self.manager.fork(held, entry)
        assert source == held.blocks[0][-1]
        assert entry.blocks[0] == [*held.blocks[0][:-1], target]
        self.live.append(Live(entry, list(prompt), len(prompt) - 1))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        held, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.manager.drop(held)

    @invariant()
    def references_equal_owners(self) -> None:
        tables = [live.entry.blocks[0] for live in self.live]
        tables += [held.blocks[0] for held, _ in self.held]
        owners = Counter(block for table in tables for block in table)
        pool = self.manager.pools[0]
        assert [pool.ref_count(b) for b in range(BLOCKS)] == [owners[b] for b in range(BLOCKS)]
        assert self.manager.num_free + self.manager.num_used == BLOCKS

    @invariant()
    def a_block_still_to_be_written_has_one_writer(self) -> None:
        writers = Counter(
            block for live in self.live for block in live.entry.blocks[0][live.computed // BLOCK :]
        )
        assert all(count == 1 for count in writers.values())

    def teardown(self) -> None:
        for live in self.live:
            self.manager.release(live.entry)
        for held, _ in self.held:
            self.manager.drop(held)
        assert self.manager.num_used == 0


TestManagerAgainstModel = ManagerAgainstModel.TestCase


def test_a_whole_cached_prompt_leaves_its_last_token_to_compute():
    manager, tokens = make_manager(), list(range(8))
    manager.commit(admit(manager, tokens), tokens, 8)
    hit = manager.find(manager.new_entry(ROOT, reads_prefix=True), tokens)
    assert hit.num_tokens == 4


def test_a_block_is_found_only_after_its_kv_was_confirmed():
    manager, tokens = make_manager(), list(range(9))
    entry = admit(manager, tokens)
    manager.commit(entry, tokens, 7)
    other = manager.new_entry(ROOT, reads_prefix=True)
    assert manager.find(other, tokens).num_tokens == 4
    manager.commit(entry, tokens, 8)
    assert manager.find(other, tokens).num_tokens == 8


def test_an_entry_that_must_not_read_finds_nothing():
    manager, tokens = make_manager(), list(range(9))
    manager.commit(admit(manager, tokens), tokens, 9)
    assert manager.find(manager.new_entry(ROOT, reads_prefix=False), tokens).num_tokens == 0


def test_without_prefix_caching_nothing_is_found():
    manager, tokens = make_manager(prefix_caching=False), list(range(9))
    manager.commit(admit(manager, tokens), tokens, 9)
    assert manager.find(manager.new_entry(ROOT, reads_prefix=True), tokens).num_tokens == 0
    assert manager.num_cached == 0


def test_reviving_a_free_hit_counts_against_the_free_blocks():
    manager, tokens = make_manager(3), list(range(9))
    entry = admit(manager, tokens)
    manager.commit(entry, tokens, 9)
    manager.release(entry)
    admit(manager, [50] * 4, reads=False)
    hit = manager.find(manager.new_entry(ROOT, reads_prefix=True), tokens)
    assert not manager.can_allocate(hit, 13)


def test_two_groups_agree_on_the_shorter_prefix():
    manager = CacheManager(
        [KVGroup(block_tokens=4, num_blocks=8), KVGroup(block_tokens=8, num_blocks=4)]
    )
    tokens = list(range(17))
    entry = admit(manager, tokens)
    manager.commit(entry, tokens, 12)
    hit = manager.find(manager.new_entry(ROOT, reads_prefix=True), tokens)
    assert hit.num_tokens == 8
    assert [len(blocks) for blocks in hit.blocks] == [2, 1]


def test_forgetting_prefixes_keeps_tables_and_finds_nothing():
    manager, tokens = make_manager(), list(range(9))
    entry = admit(manager, tokens)
    manager.commit(entry, tokens, 9)
    manager.forget_prefixes()
    assert manager.find(manager.new_entry(ROOT, reads_prefix=True), tokens).num_tokens == 0
    assert len(entry.blocks[0]) == 3
