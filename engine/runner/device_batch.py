"""The persistent batch of a GPU: block table and last tokens live there, changed rows travel.

The host keeps what it needs to lay out a step (known prompt tokens, block table, prompt lengths)
and never waits for a sampled token: a decoding row's input is named by its row and read on the
device (see kernels/embed_tokens.py).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.attention_plan import AttentionPlan, AttentionWork, plan_attention
from engine.models.decoder import StepInput
from engine.runner.batch import Batch, BatchShape
from engine.runner.step_buffers import StepBuffers, StepFields, StepShape, Words
from engine.scheduler.plan import RowStart, StepPlan


class DeviceBatch:
    """Host tables, their copies on the device, and the way between them."""

    def __init__(
        self, shape: BatchShape, max_tokens: int, device: torch.device, *, dynamic_rope: bool
    ) -> None:
        self.host = Batch(shape, dynamic_rope=dynamic_rope)
        self.buffers = StepBuffers(max_tokens, shape.rows, device)
        self.last_tokens = torch.zeros(shape.rows + 1, dtype=torch.int64, device=device)
        self._table = torch.zeros(shape.rows, shape.table_width, dtype=torch.int32, device=device)
        self._dynamic_rope = dynamic_rope
        self._changed: list[tuple[int, list[int]]] = []  # first flat entry, block ids

    def start(self, start: RowStart) -> None:
        self.host.start(start)
        self._changed.append((start.row * self.host.shape.table_width, start.blocks[0]))

    def add_blocks(self, row: int, blocks: list[int]) -> None:
        first = row * self.host.shape.table_width + int(self.host.num_blocks[row])
        self.host.add_blocks(row, blocks)
        self._changed.append((first, blocks))

    def send_blocks(self) -> None:
        """Bring the device's block table up to date."""
        if not self._changed:
            return
        places = np.concatenate([np.arange(at, at + len(ids)) for at, ids in self._changed])
        blocks = np.concatenate([np.array(ids, np.int64) for _, ids in self._changed])
        self._changed.clear()
        pairs = torch.from_numpy(np.stack((places, blocks))).pin_memory()
        places_on, blocks_on = pairs.to(self._table.device, non_blocking=True)
        self._table.view(-1).index_copy_(0, places_on, blocks_on.int())

    def write(self, plan: StepPlan, shape: StepShape, array: Words) -> None:
        """Lay the plan out in `array` at `shape`; what is padding computes and writes nothing."""
        step = self.buffers.host_step(array, shape)
        rows, counts, first = plan.rows, plan.num_tokens, plan.positions
        num_seqs, decodes = len(rows), plan.num_decodes
        if decodes == num_seqs:
            num_tokens, row_T, positions_T = num_seqs, rows, first
            step.token_ids[:num_seqs] = -1 - rows
            step.q_start[: num_seqs + 1] = _range(num_seqs + 1)
        else:
            ends = np.cumsum(counts, dtype=np.int32)
            num_tokens = int(ends[-1])
            row_T = np.repeat(rows, counts)
            positions_T = np.arange(num_tokens, dtype=np.int32)
            positions_T -= np.repeat(ends - counts - first, counts)
            step.token_ids[:num_tokens] = self.host.tokens[row_T, positions_T]
            step.token_ids[:decodes] = -1 - rows[:decodes]
            step.q_start[0] = 0
            step.q_start[1 : num_seqs + 1] = ends
            last = ends[plan.samples] - 1
            step.out_rows[: len(last)] = last
            step.out_rows[len(last) :] = 0
        step.token_ids[num_tokens:] = 0
        step.positions[:num_tokens] = positions_T
        step.positions[num_tokens:] = 0
        self._write_slots(step, row_T, positions_T)
        step.rows[:num_seqs] = rows
        step.rows[num_seqs:] = 0
        np.add(first, counts, out=step.seq_len[:num_seqs])
        step.seq_len[num_seqs:] = 0
        step.q_start[num_seqs + 1 :] = num_tokens
        if self._dynamic_rope:
            np.maximum(
                positions_T + 1, self.host.prompt_len[row_T], out=step.rope_lengths[:num_tokens]
            )
            step.rope_lengths[num_tokens:] = 1

    def _write_slots(
        self, step: StepFields[Words], row_T: NDArray[np.int32], positions_T: NDArray[np.int32]
    ) -> None:
        size = self.host.shape.block_size
        block_T = self.host.blocks[row_T, positions_T // size]
        step.slots[: len(row_T)] = block_T * size + positions_T % size
        step.slots[len(row_T) :] = -1

    def input_of(self, shape: StepShape, work: AttentionWork, *, cut: bool = True) -> StepInput:
        """The step as the model reads it, planned on the device. `cut`: only sampled tokens'
        hidden states are wanted."""
        step: StepFields[Tensor] = self.buffers.device_step(shape)
        plan = AttentionPlan(
            q_start=step.q_start,
            seq_len=step.seq_len,
            block_table=self._table.index_select(0, step.rows),
            positions=step.positions,
            slots=step.slots,
            num_decodes=shape.seqs if shape.decodes else 0,
        )
        plan_attention(work, plan)
        return StepInput(
            token_ids=step.token_ids,
            plan=plan,
            rope_lengths=step.rope_lengths if self._dynamic_rope else None,
            out_rows=None if shape.decodes or not cut else step.out_rows,
            last_tokens=self.last_tokens,
        )


_COUNT = np.arange(4097, dtype=np.int32)


def _range(count: int) -> NDArray[np.int32]:
    return _COUNT[:count]
