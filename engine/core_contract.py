"""What a daemon or an offline class drives: `engine.core.EngineCore`, or `engine.testing`'s fake.

`tests/unit/transport/test_core_contract.py` holds both to it. No tensors, no Redis, no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.messages import AdapterBeat, AdapterSource, Delta, EngineCounters, Finish, QueueBody
from engine.pooling.card import PoolingCard
from engine.step_figures import StepFigures
from engine.view import CoreView

ADAPTER_WAIT_S = 0.005  # with nothing to compute, look so often for adapters that were read


@dataclass(frozen=True, slots=True)
class Gauges:
    """Figures of this moment for the heartbeat."""

    running: int
    waiting: int
    blocks_total: int
    blocks_free: int  # free or evictable
    blocks_cached: int
    lora_slots_used: int = 0
    lora_slots_total: int = 0


class Core(Protocol):
    """One thread calls everything but the questions."""

    counters: EngineCounters
    figures: StepFigures
    asleep: bool  # without memory for the KV cache

    @property
    def max_model_len(self) -> int: ...

    @property
    def kv_tokens(self) -> int:
        """Capacity of the KV cache in tokens."""

    @property
    def card(self) -> PoolingCard | None:
        """None: the model generates."""

    @property
    def chats(self) -> bool:
        """It generates, and its tokenizer has a chat template."""

    def submit(self, body: QueueBody) -> None:
        """Take a request. A bad one does not raise: it ends with a REFUSED delta."""

    def cancel(self, rid: str, finish: Finish) -> None:
        """End a request with an END delta in the next step; an unknown rid is ignored."""

    def step(self) -> list[Delta]:
        """One turn. Each rid gets STARTED once it has a row, and END or REFUSED exactly once."""

    def has_work(self) -> bool: ...

    def load_adapter(self, source: AdapterSource) -> None:
        """Know an adapter and read it meanwhile; a failure is told by `adapters`."""

    def unload_adapter(self, digest: str) -> None:
        """Take no new requests for it; forget it when those here have ended."""

    def adapters(self) -> list[AdapterBeat]: ...

    def gauges(self) -> Gauges: ...

    def view(self) -> CoreView:
        """Copies of who holds what; called between steps by the thread that steps."""

    def reset_prefix_cache(self) -> None:
        """Forget every cached prefix; running requests keep their blocks."""

    def sleep(self) -> None:
        """Give the KV cache's memory back. Raises `InvalidRequest` while requests are open."""

    def wake_up(self) -> None:
        """Take it again; nothing happens to a core that is awake."""

    def credit(self) -> int:
        """Sequences that may still be taken from the queue."""
