"""A look into a running engine: which request holds which KV block, and what each one is doing.

The step loop only copies (`CoreView`, some microseconds); an I/O thread makes the small message of
it (`EngineView`) that answers a `Control` of kind VIEW and lies in Redis for a few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from engine.messages import Message

MOST_CELLS = 20_000  # of the map; above that one cell stands for several blocks
MOST_REQUESTS = 500  # listed; running ones first
FREE, CACHED, FIRST_REQUEST = 0, 1, 2  # codes of a cell; request i has FIRST_REQUEST + i
VIEW_TTL_MS = 5000


@dataclass(slots=True)
class RequestLook:
    """One request of a core, copied."""

    rid: str
    adapter: str  # content digest, empty for the base model
    running: int  # its sequences that have a row
    waiting: int
    prompt_tokens: int
    output_tokens: int
    age_ms: int
    tables: list[list[int]] = field(default_factory=list)  # blocks of each sequence, in order


@dataclass(slots=True)
class CoreView:
    """Copies made between two steps."""

    block_tokens: int
    uses: list[int]  # references per block
    findable: list[bool]  # block holds a prefix that a lookup can find
    requests: list[RequestLook]


class ShownRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One request as the live page lists it."""

    rid: str
    adapter: str = ""
    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    age_ms: int = 0
    blocks: int = 0


class EngineView(Message, kw_only=True, omit_defaults=True):
    """Value of `pgd:view:{engine}`. Arrays are little-endian, one entry per cell."""

    engine: str
    at_ms: int = 0  # Redis clock
    block_tokens: int = 0
    num_blocks: int = 0
    blocks_per_cell: int = 1
    owners: bytes = b""  # uint16: FREE, CACHED or FIRST_REQUEST + index in `requests`
    uses: bytes = b""  # uint8: references, at most 255; above 1 the block is shared
    places: bytes = b""  # uint16: index of the block in its owner's sequence
    requests: list[ShownRequest] = []
    more_requests: int = 0
