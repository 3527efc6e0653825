"""The persistent batch: one slot per row, changed only where a plan says so, read by numpy.

A step's flat arrays are gathered from the tables with a handful of vector operations, so the
host's work per step does not grow with the lengths of the sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.kernels.attention_plan import AttentionPlan
from engine.models.decoder import StepInput
from engine.scheduler.plan import RowStart, StepPlan


@dataclass(slots=True, kw_only=True)
class BatchShape:
    """Sizes that never change while the engine runs."""

    rows: int
    max_len: int
    block_size: int

    @property
    def table_width(self) -> int:
        return -(-self.max_len // self.block_size)


class Batch:
    """Known tokens, block table and prompt length of every row."""

    def __init__(self, shape: BatchShape, *, dynamic_rope: bool) -> None:
        self.shape = shape
        self.tokens = np.zeros((shape.rows, shape.max_len + 1), np.int32)
        self.blocks = np.zeros((shape.rows, shape.table_width), np.int32)
        self.num_blocks = np.zeros(shape.rows, np.int32)
        self.prompt_len = np.zeros(shape.rows, np.int32)
        self._dynamic_rope = dynamic_rope

    def start(self, start: RowStart) -> None:
        """Seat a request; whatever the row held before is forgotten."""
        row, ids, blocks = start.row, start.token_ids, start.blocks[0]
        self.tokens[row, : len(ids)] = ids
        self.blocks[row, : len(blocks)] = blocks
        self.num_blocks[row] = len(blocks)
        self.prompt_len[row] = start.prompt_len

    def add_blocks(self, row: int, blocks: list[int]) -> None:
        held = self.num_blocks[row]
        self.blocks[row, held : held + len(blocks)] = blocks
        self.num_blocks[row] = held + len(blocks)

    def step_input(self, plan: StepPlan, wants_all: NDArray[np.bool_] | None) -> StepInput:
        """Flat arrays of one step. `wants_all` [S] marks rows whose every position is wanted."""
        rows, counts, first = plan.rows, plan.num_tokens, plan.positions
        ends = np.cumsum(counts, dtype=np.int32)
        if plan.num_decodes == len(rows):
            row_T, positions_T = rows, first.astype(np.int64)
        else:
            row_T = np.repeat(rows, counts)
            positions_T = np.arange(ends[-1]) - np.repeat(ends - counts - first, counts)
        block_T = self.blocks[row_T, positions_T // self.shape.block_size].astype(np.int64)
        slots_T = block_T * self.shape.block_size + positions_T % self.shape.block_size
        seq_len = (first + counts).astype(np.int32)
        width = int(seq_len.max() - 1) // self.shape.block_size + 1
        table = torch.from_numpy(np.ascontiguousarray(self.blocks[rows, :width]))
        attention = AttentionPlan(
            q_start=torch.from_numpy(np.concatenate((_ZERO, ends))),
            seq_len=torch.from_numpy(seq_len),
            block_table=table,
            positions=torch.from_numpy(positions_T),
            slots=torch.from_numpy(slots_T),
            num_decodes=plan.num_decodes,
        )
        out_rows, out_plan = _wanted(plan, attention, ends, wants_all)
        return StepInput(
            token_ids=torch.from_numpy(self.tokens[row_T, positions_T].astype(np.int64)),
            plan=attention,
            rope_lengths=self._rope_lengths(row_T, positions_T),
            out_rows=out_rows,
            out_plan=out_plan,
        )

    def _rope_lengths(
        self, row_T: NDArray[np.int32], positions_T: NDArray[np.int64]
    ) -> torch.Tensor | None:
        if not self._dynamic_rope:
            return None
        return torch.from_numpy(np.maximum(positions_T + 1, self.prompt_len[row_T]))


_ZERO = np.zeros(1, np.int32)


def _wanted(
    plan: StepPlan,
    attention: AttentionPlan,
    ends: NDArray[np.int32],
    wants_all: NDArray[np.bool_] | None,
) -> tuple[torch.Tensor | None, AttentionPlan | None]:
    """Flat indices of the rows that the vocabulary projection reads, and their attention plan;
    None where it reads every row.

    Without prompt scores these are the last tokens of sampling rows, each a decode of its own.
    With them every row is kept: the runner picks what it needs.
    """
    if wants_all is not None or (plan.num_decodes == len(plan.rows) and plan.samples.all()):
        return None, None
    picked = np.flatnonzero(plan.samples)
    out_rows = torch.from_numpy(ends[picked].astype(np.int64) - 1)
    chosen = torch.from_numpy(picked)
    out_plan = AttentionPlan(
        q_start=torch.arange(len(picked) + 1, dtype=torch.int32),
        seq_len=attention.seq_len[chosen],
        block_table=attention.block_table[chosen],
        positions=attention.positions[out_rows],
        slots=attention.slots[out_rows],
        num_decodes=len(picked),
    )
    return out_rows, out_plan
