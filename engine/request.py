"""One accepted request and its sequences (one per prompt and choice)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from engine.messages import ChoiceDelta, Counts, QueueBody, TokenLogprob
from engine.sampling_params import SamplingParams

if TYPE_CHECKING:
    from engine.cache.manager import CacheEntry, Held
    from engine.stop_strings import StopMatcher
    from engine.structured.compiler import Grammar

PromptLogprobs = list[list[TokenLogprob] | None]


class Status(Enum):
    """Life of a sequence: perhaps held until its grammar is compiled, waiting ⇄ running
    (preemption), then one of the two ends."""

    HELD = "held"
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Sequence:
    """One choice of one prompt: a row of the batch while it runs.

    Three counters tell all about prefill, chunks, cache hits and decoding: `len(tokens)` known,
    `computed` confirmed by the runner, and `scheduled`, which is ahead by the steps in flight and
    lives in the scheduler's row table.
    """

    request: Request
    family: Family
    index: int  # prompt × n + choice
    tokens: list[int]
    prompt_len: int
    max_len: int  # prompt and output
    params: SamplingParams
    seed: int
    stop_ids: frozenset[int]  # end the text, once min_tokens are out
    order: tuple[int, int, int]  # smaller runs earlier and is preempted later
    cache: CacheEntry
    matcher: StopMatcher | None = None
    status: Status = Status.WAITING
    row: int = -1
    started: bool = False  # had a row before
    computed: int = 0
    num_chunks: int = 0  # of the prefill under way

    @property
    def adapter(self) -> str | None:
        """Content digest; None: the base model."""
        return self.request.body.adapter

    @property
    def num_output(self) -> int:
        return len(self.tokens) - self.prompt_len

    @property
    def is_leader(self) -> bool:
        """The first choice of a prompt; it computes the prompt for all."""
        return self.family.members[0] is self


@dataclass(slots=True, eq=False)
class Family:
    """The n choices of one prompt. Siblings enter after the leader has computed the prompt."""

    prompt_idx: int
    members: list[Sequence] = field(default_factory=list)
    prefilled: bool = False  # siblings may enter
    num_unstarted: int = 0  # siblings that never had a row
    held: Held | None = None


@dataclass(slots=True, eq=False)
class Request:
    """All that is known of one rid between `submit` and its terminal event. Times in seconds."""

    body: QueueBody
    submitted_s: float
    sequences: list[Sequence] = field(default_factory=list)
    num_open: int = 0  # choices without a finish
    num_events: int = 0
    started_s: float | None = None
    first_token_s: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_logprobs: list[PromptLogprobs] | None = None
    num_unscored: int = 0  # prompts whose logprobs are not complete
    choices: list[ChoiceDelta] = field(default_factory=list)  # of the event being made
    grammar: Grammar | None = None  # that every choice follows

    @property
    def rid(self) -> str:
        return self.body.rid

    def next_event(self) -> int:
        """Sequence number of the next event of this attempt."""
        self.num_events += 1
        return self.num_events - 1

    def counts(self, now_s: float) -> Counts:
        """Truth so far; milliseconds since `submit`."""
        return Counts(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            queue_ms=self._ms(now_s if self.started_s is None else self.started_s),
            ttft_ms=0 if self.first_token_s is None else self._ms(self.first_token_s),
            total_ms=self._ms(now_s),
        )

    def _ms(self, at_s: float) -> int:
        return max(0, round((at_s - self.submitted_s) * 1000))
