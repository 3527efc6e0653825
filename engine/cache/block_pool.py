"""KV blocks of one group: who uses them, which are free, which still hold a known prefix.

Free blocks form one circular doubly linked list over plain integers, so taking, returning and
reviving a block are O(1). The head is evicted first. A block without a hash holds nothing worth
keeping and returns to the head; a hashed one returns to the tail and can be revived by `share`
until it is handed out again.
"""

from __future__ import annotations

from collections.abc import Sequence


class BlockPool:
    """Blocks 0 … num_blocks - 1 with reference counts and a hash → block index."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.num_free = num_blocks
        self._refs = [0] * num_blocks
        self._hash_of: list[bytes | None] = [None] * num_blocks
        self._block_of: dict[bytes, int] = {}
        self._end = num_blocks  # sentinel: next[end] is the head, prev[end] the tail
        self._next = [*range(1, num_blocks + 1), 0]
        self._prev = [num_blocks, *range(num_blocks)]

    @property
    def num_used(self) -> int:
        return self.num_blocks - self.num_free

    @property
    def num_cached(self) -> int:
        """Blocks that a prefix lookup can find, in use or not."""
        return len(self._block_of)

    def uses(self) -> list[int]:
        """A copy: references per block."""
        return self._refs.copy()

    def findable(self) -> list[bool]:
        """A copy: whether a prefix lookup can find each block."""
        return [digest is not None for digest in self._hash_of]

    def ref_count(self, block: int) -> int:
        return self._refs[block]

    def find(self, digest: bytes) -> int | None:
        return self._block_of.get(digest)

    def take(self, count: int) -> list[int]:
        """Hand out `count` blocks with one reference each; the caller asked `num_free` first."""
        assert count <= self.num_free, f"asked for {count} blocks, {self.num_free} are free"
        taken = []
        for _ in range(count):
            block = self._next[self._end]
            self._unlink(block)
            self._forget(block)
            self._refs[block] = 1
            taken.append(block)
        return taken

    def share(self, block: int) -> None:
        """Add a reference; a free block that still holds its prefix comes back into use."""
        if self._refs[block] == 0:
            self._unlink(block)
        self._refs[block] += 1

    def give_back(self, blocks: Sequence[int]) -> None:
        """Drop one reference from each block of a chain. The chain's tail is evicted first."""
        for block in reversed(blocks):
            self._refs[block] -= 1
            assert self._refs[block] >= 0, f"block {block} was given back twice"
            if self._refs[block] == 0:
                self._link(block, at_head=self._hash_of[block] is None)

    def register(self, block: int, digest: bytes) -> None:
        """Make a full block findable. The first block with a digest wins; a twin stays nameless."""
        if self._hash_of[block] is None and digest not in self._block_of:
            self._hash_of[block] = digest
            self._block_of[digest] = block

    def forget_all(self) -> None:
        """Empty the prefix index; blocks in use stay in use."""
        self._block_of.clear()
        self._hash_of = [None] * self.num_blocks

    def _forget(self, block: int) -> None:
        digest = self._hash_of[block]
        if digest is not None:
            del self._block_of[digest]
            self._hash_of[block] = None

    def _unlink(self, block: int) -> None:
        before, after = self._prev[block], self._next[block]
        self._next[before], self._prev[after] = after, before
        self.num_free -= 1

    def _link(self, block: int, *, at_head: bool) -> None:
        after = self._next[self._end] if at_head else self._end
        before = self._prev[after]
        self._next[before] = self._prev[after] = block
        self._prev[block], self._next[block] = before, after
        self.num_free += 1
