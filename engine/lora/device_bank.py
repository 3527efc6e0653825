"""The slots of a GPU: stacked adapter weights for each rank bucket, and a step's plan beside them.

A bucket's stacks are made when the first adapter of its ranks is read, by the thread that reads, so
that an adapter for which no memory is left fails alone. Filling a slot is one copy for each matrix
from pinned memory, on the stream of the steps.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import EngineStartError
from engine.kernels.gpu import ceil_div
from engine.kernels.lora_delta import LoraWeight
from engine.kernels.lora_expand import lora_expand, output_blocks
from engine.kernels.lora_plan import TILE, LoraWork, fill_work, make_tiles, make_work
from engine.kernels.lora_shrink import lora_shrink
from engine.lora.layout import GROUPS, bucket_of, linear_shapes
from engine.lora.weights import AdapterReader, HostAdapter
from engine.messages import AdapterSource
from engine.models.spec import ModelSpec
from engine.scheduler.plan import SlotChange

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Linear:
    """One merged linear: inputs, and outputs of each slice."""

    num_in: int
    widths: tuple[int, ...]

    @property
    def num_out(self) -> int:
        return sum(self.widths)


@dataclass(frozen=True, slots=True)
class PinnedMatrix:
    """An adapter's part in one linear, laid out as a slot holds it, the scale folded into B."""

    a: Tensor  # [n·R, K]
    b: Tensor  # [N, R]
    ranks: tuple[int, ...]  # true rank of each slice; 0: left alone


@dataclass(frozen=True, slots=True)
class PinnedAdapter:
    """An adapter in page-locked host memory."""

    rank: int
    nbytes: int
    layers: list[dict[str, PinnedMatrix | None]]


@dataclass(frozen=True, slots=True)
class _Table:
    """The slots of one linear in one layer."""

    a: Tensor  # [A, n·R, K]
    b: Tensor  # [A, N, R]
    ranks: Tensor  # [A, n] int32
    blocks: Tensor  # of outputs, see lora_expand.py


@dataclass(frozen=True, slots=True)
class _Stack:
    """One rank bucket: its tables by layer and group, and the step's plan for its slots."""

    tables: list[dict[str, _Table]]
    work: LoraWork
    out_work: LoraWork  # of the tokens whose hidden state is wanted


class DeviceBank:
    """Slot ids run over the buckets, `max_loras` each, smallest rank first."""

    def __init__(
        self,
        spec: ModelSpec,
        hosts: Mapping[str, PinnedAdapter],
        *,
        buckets: tuple[int, ...],
        max_loras: int,
        max_tokens: int,
        max_seqs: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._hosts, self._buckets, self._max_loras = hosts, buckets, max_loras
        self._max_tokens, self._max_seqs = max_tokens, max_seqs
        self.dtype, self._device = dtype, device
        shapes = linear_shapes(spec)
        self.linears = {
            group: Linear(shapes[parts[0]][1], tuple(shapes[part][0] for part in parts))
            for group, parts in GROUPS.items()
        }
        self._num_layers = spec.num_layers
        self._stacks: dict[int, _Stack] = {}  # by bucket
        self._lock = threading.Lock()

    @property
    def num_stacks(self) -> int:
        """Grows when adapters of other ranks come: graphs captured before know nothing of them."""
        return len(self._stacks)

    def reserve(self, rank: int) -> None:
        """Have slots for adapters of this rank. Raises `EngineStartError` for want of memory."""
        bucket = bucket_of(rank)
        with self._lock:
            if bucket in self._stacks:
                return
            try:
                stack = self._make_stack(bucket)
            except torch.OutOfMemoryError:
                free, _ = torch.cuda.mem_get_info(self._device)
                raise EngineStartError(
                    f"{self._max_loras} slots of rank {bucket} need {self.bytes_of(bucket) // MIB} "
                    f"MiB of GPU memory, {free // MIB} MiB are free.",
                    "Lower max_loras, or gpu_memory_utilization.",
                ) from None
            torch.cuda.current_stream(self._device).synchronize()
            self._stacks = dict(sorted({**self._stacks, bucket: stack}.items()))

    def bytes_of(self, bucket: int) -> int:
        """Of one bucket's slots."""
        numbers = sum(
            bucket * (len(linear.widths) * linear.num_in + linear.num_out)
            for linear in self.linears.values()
        )
        return self._num_layers * self._max_loras * numbers * self.dtype.itemsize

    def change(self, changes: Sequence[SlotChange]) -> None:
        """Fill and clear slots, in order, on the current stream."""
        for change in changes:
            bucket = self._buckets[change.slot // self._max_loras]
            slot = change.slot % self._max_loras
            host = None if change.digest is None else self._hosts[change.digest]
            for i, tables in enumerate(self._stacks[bucket].tables):
                for group, table in tables.items():
                    matrix = None if host is None else host.layers[i][group]
                    if matrix is None:
                        table.ranks[slot].zero_()
                        continue
                    table.a[slot].copy_(matrix.a, non_blocking=True)
                    table.b[slot].copy_(matrix.b, non_blocking=True)
                    for s, rank in enumerate(matrix.ranks):
                        table.ranks[slot, s].fill_(rank)

    def plan(
        self, slots: NDArray[np.int32], num_tokens: NDArray[np.int32], samples: NDArray[np.bool_]
    ) -> None:
        """Tell the device which tokens use which slots. `slots` [S]: -1 for base rows."""
        slot_T, slot_out = np.repeat(slots, num_tokens), slots[samples]
        for bucket, stack in self._stacks.items():
            first = self._buckets.index(bucket) * self._max_loras
            for work, per_token in ((stack.work, slot_T), (stack.out_work, slot_out)):
                own = per_token - first
                own = np.where((own >= 0) & (own < self._max_loras), own, np.int32(-1))
                fill_work(work, make_tiles(own.astype(np.int32), TILE))

    def step(self, num_tokens: int, num_seqs: int, *, cut: bool) -> DeviceLoraStep:
        """What a forward pass of this size adds; its launches read the plan on the device. `cut`:
        the last layer goes on with the wanted tokens only."""
        stacks = []
        for stack in self._stacks.values():
            work = _narrow(stack.work, num_tokens, self._max_loras)
            out_work = _narrow(stack.out_work, num_seqs, self._max_loras) if cut else work
            stacks.append(replace(stack, work=work, out_work=out_work))
        return DeviceLoraStep(stacks)

    def _make_stack(self, bucket: int) -> _Stack:
        def table(linear: Linear) -> _Table:
            slices, count = len(linear.widths), self._max_loras
            return _Table(
                a=torch.zeros(count, slices * bucket, linear.num_in, **made),
                b=torch.zeros(count, linear.num_out, bucket, **made),
                ranks=torch.zeros(count, slices, dtype=torch.int32, device=self._device),
                blocks=output_blocks(linear.widths, self._device),
            )

        made: dict[str, Any] = {"dtype": self.dtype, "device": self._device}
        return _Stack(
            [
                {group: table(linear) for group, linear in self.linears.items()}
                for _ in range(self._num_layers)
            ],
            make_work(self._max_tokens, self._max_loras, self._device),
            make_work(self._max_seqs, self._max_loras, self._device),
        )


@dataclass(frozen=True, slots=True)
class DeviceLoraStep:
    """The `LoraStep` of a GPU."""

    stacks: list[_Stack]

    def add(self, layer: int, group: str, x_TK: Tensor, y_TN: Tensor, *, out: bool = False) -> None:
        """y += B·A·x. `out`: x and y hold only the wanted tokens."""
        for stack in self.stacks:
            table, work = stack.tables[layer][group], stack.out_work if out else stack.work
            narrow = lora_shrink(x_TK, table.a, table.ranks, work)
            lora_expand(y_TN, narrow, table.b, table.ranks, table.blocks, work)


@dataclass(frozen=True, slots=True)
class PinnedReader:
    """Reads adapters into page-locked memory; called by the loader's thread."""

    reader: AdapterReader
    bank: DeviceBank

    def read(self, source: AdapterSource) -> PinnedAdapter:
        """Raises `EngineStartError` naming all problems, or the memory that lacks."""
        host = self.reader.read(source)
        self.bank.reserve(host.rank)
        return pin(host, self.bank.linears, self.bank.dtype)


def pin(host: HostAdapter, linears: Mapping[str, Linear], dtype: torch.dtype) -> PinnedAdapter:
    """One page-locked allocation that holds all matrices at the size of the adapter's bucket."""
    bucket = bucket_of(host.rank)
    sizes = {
        group: [len(linear.widths) * bucket * linear.num_in, linear.num_out * bucket]
        for group, linear in linears.items()
    }
    wanted = [group for layer in host.layers for group, weight in layer.items() if weight]
    memory = torch.zeros(sum(sum(sizes[group]) for group in wanted), dtype=dtype).pin_memory()
    layers: list[dict[str, PinnedMatrix | None]] = []
    start = 0
    for layer in host.layers:
        layers.append({})
        for group, weight in layer.items():
            layers[-1][group] = None
            if weight is not None:
                a, b = torch.split(memory[start : start + sum(sizes[group])], sizes[group])
                layers[-1][group] = _laid_out(weight, linears[group], bucket, a, b)
                start += sum(sizes[group])
    return PinnedAdapter(host.rank, memory.nbytes, layers)


def _laid_out(
    weight: LoraWeight, linear: Linear, bucket: int, a: Tensor, b: Tensor
) -> PinnedMatrix:
    slices = len(linear.widths)
    a, b = a.view(slices, bucket, linear.num_in), b.view(linear.num_out, bucket)
    a[:, : weight.rank] = weight.a.view(slices, weight.rank, linear.num_in)
    scales = torch.tensor(weight.scales).repeat_interleave(torch.tensor(linear.widths))
    b[:, : weight.rank] = weight.b * scales[:, None]
    ranks = tuple(weight.rank if scale else 0 for scale in weight.scales)
    return PinnedMatrix(a.view(slices * bucket, linear.num_in), b, ranks)


def _narrow(work: LoraWork, count: int, num_slots: int) -> LoraWork:
    """The same buffers with a grid for `count` tokens."""
    return replace(work, tiles=work.tiles[: ceil_div(count, TILE) + num_slots])
