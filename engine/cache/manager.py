"""Which KV blocks each sequence owns, and which of them it can share.

Questions (`find`, `can_…`) change nothing; the command of the same name follows a yes. Tables are
`[group][position // block tokens]`, because a model may keep several kinds of cache; a prefix hit
is the prefix that all groups still hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import lcm

from engine.cache.block_pool import BlockPool
from engine.cache.hashing import extend_chain


@dataclass(frozen=True, slots=True, kw_only=True)
class KVGroup:
    """Layers that share one block table."""

    block_tokens: int
    num_blocks: int
    kind: str = "paged"


@dataclass(slots=True)
class CacheEntry:
    """The cache's side of one sequence. `digests` outlive a preemption, `blocks` do not."""

    root: bytes
    reads_prefix: bool
    blocks: list[list[int]] = field(default_factory=list)
    digests: list[list[bytes]] = field(default_factory=list)
    num_registered: list[int] = field(default_factory=list)  # per group, leading blocks


@dataclass(frozen=True, slots=True)
class Hit:
    """A cached prefix: blocks per group, and how many tokens they hold."""

    blocks: list[list[int]]
    num_tokens: int


@dataclass(slots=True)
class Held:
    """References on the blocks of a computed prompt, kept for siblings that wait for a row."""

    blocks: list[list[int]]
    num_tokens: int


class CacheManager:
    """Block tables and prefix reuse over one pool per group."""

    def __init__(self, groups: list[KVGroup], *, prefix_caching: bool = True) -> None:
        self.groups = groups
        self.pools = [BlockPool(group.num_blocks) for group in groups]
        self.prefix_caching = prefix_caching
        self._step_tokens = lcm(*(group.block_tokens for group in groups))

    @property
    def capacity_tokens(self) -> int:
        """Tokens of the longest sequence that fits when it is alone."""
        return min(group.block_tokens * group.num_blocks for group in self.groups)

    @property
    def num_blocks(self) -> int:
        return sum(pool.num_blocks for pool in self.pools)

    @property
    def num_free(self) -> int:
        """Free or evictable blocks."""
        return sum(pool.num_free for pool in self.pools)

    @property
    def num_used(self) -> int:
        return sum(pool.num_used for pool in self.pools)

    @property
    def num_cached(self) -> int:
        return sum(pool.num_cached for pool in self.pools)

    def uses(self) -> list[int]:
        """References per block, group after group."""
        return [count for pool in self.pools for count in pool.uses()]

    def findable(self) -> list[bool]:
        """Whether a prefix lookup can find each block, group after group."""
        return [found for pool in self.pools for found in pool.findable()]

    def table(self, entry: CacheEntry) -> list[int]:
        """The sequence's blocks, numbered as `uses` numbers them."""
        table, first = [], 0
        for pool, blocks in zip(self.pools, entry.blocks, strict=True):
            table += [first + block for block in blocks]
            first += pool.num_blocks
        return table

    def new_entry(self, root: bytes, *, reads_prefix: bool) -> CacheEntry:
        size = len(self.groups)
        return CacheEntry(
            root, reads_prefix, [[] for _ in range(size)], [[] for _ in range(size)], [0] * size
        )

    def find(self, entry: CacheEntry, tokens: list[int]) -> Hit:
        """The longest cached prefix that leaves at least one token to compute."""
        if not (self.prefix_caching and entry.reads_prefix):
            return Hit([[] for _ in self.groups], 0)
        found = [self._leading_blocks(g, entry, tokens) for g in range(len(self.groups))]
        shortest = min(
            len(blocks) * group.block_tokens
            for blocks, group in zip(found, self.groups, strict=True)
        )
        num_tokens = shortest - shortest % self._step_tokens
        cut = [
            blocks[: num_tokens // group.block_tokens]
            for blocks, group in zip(found, self.groups, strict=True)
        ]
        return Hit(cut, num_tokens)

    def can_allocate(self, hit: Hit, num_tokens: int, *, reserve: int = 0) -> bool:
        """Do blocks for `num_tokens` fit beside `reserve` more? Revived hits are free no longer."""
        return all(
            self._missing(g, hit, num_tokens) + _unused(self.pools[g], hit.blocks[g]) + reserve
            <= self.pools[g].num_free
            for g in range(len(self.groups))
        )

    def allocate(self, entry: CacheEntry, hit: Hit, num_tokens: int) -> None:
        """Give the sequence its hit and fresh blocks for the rest of `num_tokens`."""
        for g, pool in enumerate(self.pools):
            for block in hit.blocks[g]:
                pool.share(block)
            entry.blocks[g] = hit.blocks[g] + pool.take(self._missing(g, hit, num_tokens))
            entry.num_registered[g] = len(hit.blocks[g])

    def can_grow(self, num_sequences: int) -> bool:
        """May each of `num_sequences` take one block in every group?"""
        return all(pool.num_free >= num_sequences for pool in self.pools)

    def grow(self, entry: CacheEntry, num_tokens: int) -> list[tuple[int, list[int]]]:
        """Add the blocks that are missing for `num_tokens`: (group, new ids)."""
        added = []
        for g, group in enumerate(self.groups):
            missing = -(-num_tokens // group.block_tokens) - len(entry.blocks[g])
            if missing > 0:
                fresh = self.pools[g].take(missing)
                entry.blocks[g] += fresh
                added.append((g, fresh))
        return added

    def room(self, entry: CacheEntry) -> int:
        """Tokens that fit the blocks the sequence has."""
        return min(
            len(blocks) * group.block_tokens
            for blocks, group in zip(entry.blocks, self.groups, strict=True)
        )

    def commit(self, entry: CacheEntry, tokens: list[int], num_computed: int) -> None:
        """Make full blocks below `num_computed` findable. Call only once their KV is written."""
        if not self.prefix_caching:
            return
        for g, group in enumerate(self.groups):
            digests, full = entry.digests[g], num_computed // group.block_tokens
            extend_chain(digests, entry.root, tokens, group.block_tokens, num_computed)
            for i in range(entry.num_registered[g], full):
                self.pools[g].register(entry.blocks[g][i], digests[i])
            entry.num_registered[g] = max(entry.num_registered[g], full)

    def release(self, entry: CacheEntry) -> None:
        """Give all blocks of the sequence back; findable ones stay findable until evicted."""
        for g, pool in enumerate(self.pools):
            pool.give_back(entry.blocks[g])
            entry.blocks[g] = []
            entry.num_registered[g] = 0

    def forget_prefixes(self) -> None:
        """Make no block findable any more; tables stay as they are."""
        for pool in self.pools:
            pool.forget_all()

    def hold(self, entry: CacheEntry, num_tokens: int) -> Held:
        """Keep a computed prompt alive for siblings, whatever becomes of `entry`."""
        blocks = [
            entry.blocks[g][: -(-num_tokens // group.block_tokens)]
            for g, group in enumerate(self.groups)
        ]
        for pool, ids in zip(self.pools, blocks, strict=True):
            for block in ids:
                pool.share(block)
        return Held(blocks, num_tokens)

    def drop(self, held: Held) -> None:
        for pool, ids in zip(self.pools, held.blocks, strict=True):
            pool.give_back(ids)
        held.blocks = [[] for _ in self.pools]

    def fork(self, held: Held, entry: CacheEntry) -> list[tuple[int, int]]:
        """Table of a sibling: all blocks shared but the last, which is copied (source, target).

        The sibling recomputes the prompt's last token to get its logits, and then writes on; both
        happen in the copied block, so no shared block is ever written.
        """
        copies = []
        for g, pool in enumerate(self.pools):
            shared, last = held.blocks[g][:-1], held.blocks[g][-1]
            for block in shared:
                pool.share(block)
            (own,) = pool.take(1)
            copies.append((last, own))
            entry.blocks[g] = [*shared, own]
            entry.num_registered[g] = 0
        return copies

    def _leading_blocks(self, g: int, entry: CacheEntry, tokens: list[int]) -> list[int]:
        block_tokens, digests = self.groups[g].block_tokens, entry.digests[g]
        extend_chain(digests, entry.root, tokens, block_tokens, len(tokens) - 1)
        found: list[int] = []
        for digest in digests[: (len(tokens) - 1) // block_tokens]:
            if (block := self.pools[g].find(digest)) is None:
                break
            found.append(block)
        return found

    def _missing(self, g: int, hit: Hit, num_tokens: int) -> int:
        return -(-num_tokens // self.groups[g].block_tokens) - len(hit.blocks[g])


def _unused(pool: BlockPool, blocks: list[int]) -> int:
    return sum(pool.ref_count(block) == 0 for block in blocks)
