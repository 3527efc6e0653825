"""The contract between scheduler and runner: one `StepPlan` in, one `StepResult` out.

Every change of state a runner must know travels in the plan, so that all ranks of a
tensor-parallel group stay in step. Rows are slots of the runner's persistent batch
(0 … max_num_seqs - 1); a request keeps its row from `RowStart` until it appears in `ends`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import PagodaError
from engine.messages import TokenLogprob
from engine.pooling.params import PoolingParams
from engine.sampling_params import SamplingParams

if TYPE_CHECKING:
    from engine.structured.compiler import Grammar


@dataclass(slots=True, kw_only=True)
class RowStart:
    """A request enters the batch (first time, or again after preemption)."""

    row: int
    request_id: str
    token_ids: list[int]  # all known tokens: prompt, and outputs when it was preempted
    prompt_len: int  # tokens from here on count as generated
    num_computed: int  # tokens whose KV is already in `blocks`
    blocks: list[list[int]]  # [group][position // block size]
    params: SamplingParams
    seed: int  # of this choice; random numbers depend only on (seed, position)
    stop_ids: tuple[int, ...]  # EOS and stop ids, masked until min_tokens are out
    adapter: str | None = None
    grammar: Grammar | None = None  # that the row's output follows
    pooling: PoolingParams | None = None
    second_at: int = 0  # pooling: where the second text of a pair begins


@dataclass(frozen=True, slots=True)
class SlotChange:
    """An adapter enters a slot, from host memory, before the step computes. None: cleared."""

    slot: int
    digest: str | None


@dataclass(slots=True, kw_only=True)
class StepPlan:
    """One step. Arrays are [S]; rows that decode (one token) come first."""

    step: int
    ends: list[int] = field(default_factory=list)  # rows given back since the last plan
    starts: list[RowStart] = field(default_factory=list)
    new_blocks: list[tuple[int, int, list[int]]] = field(default_factory=list)  # row, group, ids
    copies: list[tuple[int, int]] = field(default_factory=list)  # KV block source → target, first
    rows: NDArray[np.int32]
    num_tokens: NDArray[np.int32]  # tokens computed for each row
    positions: NDArray[np.int32]  # position of each row's first token
    samples: NDArray[np.bool_]  # this step reaches the end of the row's known tokens
    num_decodes: int  # how many leading rows decode
    slot_changes: list[SlotChange] = field(default_factory=list)
    slots: NDArray[np.int32] | None = None  # adapter slot of each row, -1: base; None: all base
    kv_memory: bool | None = None  # False: give the KV cache's memory back; True: take it again

    @property
    def total_tokens(self) -> int:
        return int(self.num_tokens.sum())


@dataclass(slots=True, kw_only=True)
class StepResult:
    """What the runner found out. A row that failed ends its request and no other."""

    step: int
    token_ids: NDArray[np.int64]  # [S], -1 where nothing was sampled
    logprobs: dict[int, list[TokenLogprob]] = field(default_factory=dict)  # by row, chosen first
    prompt_logprobs: dict[int, list[list[TokenLogprob]]] = field(default_factory=dict)
    """By row: one list per prompt token computed in this step, predicting the next prompt token."""
    failed: dict[int, PagodaError] = field(default_factory=dict)
    vectors: dict[int, bytes] = field(default_factory=dict)  # by row, see `ChoiceDelta.vector`


class PendingStep(Protocol):
    """A step that may still be running on the device."""

    def wait(self) -> StepResult: ...


class Runner(Protocol):
    """Executes plans in order. `overlap` says whether a second plan may be launched early."""

    overlap: bool
    num_blocks: int
    block_size: int
    max_model_len: int
    vocab_size: int

    def launch(self, plan: StepPlan) -> PendingStep: ...

    def close(self) -> None: ...
