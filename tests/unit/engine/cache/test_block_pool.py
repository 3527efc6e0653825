from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.cache.block_pool import BlockPool

SIZE = 12


class PoolAgainstModel(RuleBasedStateMachine):
    """The pool beside a plain list of chains; every owner of a block is known to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(SIZE)
        self.chains: list[list[int]] = []
        self.names: dict[bytes, int] = {}
        self.next_name = 0

    @rule(count=st.integers(0, SIZE))
    def take(self, count: int) -> None:
        if count > self.pool.num_free:
            return
        used = {block for chain in self.chains for block in chain}
        fresh = self.pool.take(count)
        assert not used & set(fresh)
        assert len(set(fresh)) == count
        self.names = {name: block for name, block in self.names.items() if block not in fresh}
        self.chains.append(fresh)

    @precondition(lambda self: self.chains)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(self.chains) - 1))
        self.pool.give_back(self.chains.pop(i))

    @precondition(lambda self: any(self.chains))
    @rule(data=st.data())
    def register(self, data: st.DataObject) -> None:
        chain = data.draw(st.sampled_from([c for c in self.chains if c]))
        block = data.draw(st.sampled_from(chain))
        if block in self.names.values():
            return
        name = self.next_name.to_bytes(4, "little")
        self.next_name += 1
        self.pool.register(block, name)
        self.names[name] = block

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def revive(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.names)))
        block = self.pool.find(name)
        assert block == self.names[name]
        self.pool.share(block)
        self.chains.append([block])

    @invariant()
    def references_equal_owners(self) -> None:
        owners = Counter(block for chain in self.chains for block in chain)
        assert [self.pool.ref_count(b) for b in range(SIZE)] == [owners[b] for b in range(SIZE)]

    @invariant()
    def free_and_used_make_the_total(self) -> None:
        used = {block for chain in self.chains for block in chain}
        assert self.pool.num_used == len(used)
        assert self.pool.num_free + self.pool.num_used == SIZE

    @invariant()
    def exactly_the_named_blocks_are_found(self) -> None:
        assert self.pool.num_cached == len(self.names)
        assert all(self.pool.find(name) == block for name, block in self.names.items())

    def teardown(self) -> None:
        for chain in self.chains:
            self.pool.give_back(chain)
        assert self.pool.num_used == 0
        assert sorted(self.pool.take(SIZE)) == list(range(SIZE))


TestPoolAgainstModel = PoolAgainstModel.TestCase


def named_chain(pool: BlockPool, count: int) -> list[int]:
    chain = pool.take(count)
    for i, block in enumerate(chain):
        pool.register(block, bytes([block, i]))
    return chain


def test_the_tail_of_a_chain_is_evicted_before_its_head():
    pool = BlockPool(4)
    chain = named_chain(pool, 4)
    pool.give_back(chain)
    assert pool.take(4) == chain[::-1]


def test_blocks_without_a_hash_are_handed_out_before_cached_ones():
    pool = BlockPool(4)
    cached, plain = named_chain(pool, 2), pool.take(2)
    pool.give_back(cached)
    pool.give_back(plain)
    assert set(pool.take(2)) == set(plain)
    assert pool.num_cached == 2


def test_a_revived_block_becomes_the_most_recently_used():
    pool = BlockPool(3)
    first, second, third = named_chain(pool, 3)
    for block in (first, second, third):
        pool.give_back([block])
    pool.share(first)
    pool.give_back([first])
    assert pool.take(3) == [second, third, first]


def test_a_twin_of_a_known_block_stays_nameless():
    pool = BlockPool(2)
    first, second = pool.take(2)
    pool.register(first, b"x")
    pool.register(second, b"x")
    pool.give_back([first])
    assert pool.find(b"x") == first
    assert pool.num_cached == 1


def test_giving_back_twice_is_our_own_mistake():
    pool = BlockPool(1)
    taken = pool.take(1)
    pool.give_back(taken)
    with pytest.raises(AssertionError, match="twice"):
        pool.give_back(taken)
