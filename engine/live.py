"""What an engine's two I/O threads know of each request it owns."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from engine.messages import Counts, Delta, Finish, QueueBody

REMEMBERED = 4096


@dataclass(slots=True)
class Live:
    """One attempt between its delivery and its terminal."""

    body: QueueBody
    sid: str  # of its queue entry
    bill: bytes
    waited_ms: int  # in the queue, before this engine read it
    generated: int = 0
    saved: int = -1  # `generated` at the last checkpoint
    finishes: set[Finish] = field(default_factory=set)
    cancelled: bool = False
    orphan: bool = False  # Redis lost its data: no ledger entry can end it any more

    def checkpoint(self) -> Counts:
        return Counts(
            prompt_tokens=sum(map(len, self.body.prompts)), completion_tokens=self.generated
        )

    def note(self, delta: Delta) -> None:
        """Count tokens for the checkpoint, remember why choices ended."""
        for choice in delta.choices:
            self.generated += len(choice.token_ids)
            if choice.finish is not None:
                self.finishes.add(choice.finish)

    def finish(self) -> Finish:
        """One word for the row: the least successful of its choices."""
        for finish in (Finish.ERROR, Finish.LOST, Finish.CANCELLED, Finish.LENGTH, Finish.STOP):
            if finish in self.finishes:
                return finish
        return Finish.CANCELLED if self.cancelled else Finish.STOP

    def truth(self, counts: Counts | None) -> Counts:
        """The engine's counts with the time in the queue added."""
        if counts is None:
            return self.checkpoint()
        return Counts(
            prompt_tokens=counts.prompt_tokens,
            cached_tokens=counts.cached_tokens,
            completion_tokens=counts.completion_tokens,
            queue_ms=counts.queue_ms + self.waited_ms,
            ttft_ms=counts.ttft_ms + self.waited_ms if counts.completion_tokens else 0,
            total_ms=counts.total_ms + self.waited_ms,
        )


class LiveTable:
    """rid → its newest attempt here. Also remembers what ended lately, for redelivered entries."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}
        self._ended: OrderedDict[tuple[str, int], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live)

    def add(self, live: Live) -> None:
        self._live[live.body.rid] = live

    def get(self, rid: str, attempt: int) -> Live | None:
        live = self._live.get(rid)
        return live if live is not None and live.body.attempt == attempt else None

    def knows(self, rid: str, attempt: int) -> bool:
        return self.get(rid, attempt) is not None or (rid, attempt) in self._ended

    def end(self, live: Live) -> None:
        key = (live.body.rid, live.body.attempt)
        if self.get(*key) is live:
            del self._live[key[0]]
        self._ended[key] = None
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def all(self) -> list[Live]:
        return list(self._live.values())
