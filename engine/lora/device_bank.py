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
from engine.kernels.lora_expand import OutputBlocks, lora_expand, output_blocks
from engine.kernels.lora_plan import LoraWork, fill_work, make_tiles, make_work, prompt_tile
from engine.kernels.lora_shrink import lora_shrink
from engine.lora.layout import GROUPS, bucket_of, linear_shapes
from engine.lora.weights import AdapterReader, HostAdapter
from engine.messages import AdapterSource
from engine.models.spec import ModelSpec
from engine.scheduler.plan import SlotChange

MIB = 1 << 20
LEFT_FREE = 1 << 30  # bytes, for activations of steps that no graph holds


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


@dataclass(frozen=True, slots=True)
class PinnedAdapter:
    """An adapter in page-locked host memory."""

    rank: int
    nbytes: int
    layers: list[dict[str, PinnedMatrix]]  # of the linears it changes
    ranks: Tensor  # [L, slices of a layer] int32, true rank of each slice; 0: left alone


@dataclass(frozen=True, slots=True)
class _Table:
    """The slots of one linear in one layer."""

    a: Tensor  # [A, n·R, K]
    b: Tensor  # [A, N, R]
    ranks: Tensor  # [A, n] int32
    blocks: OutputBlocks


@dataclass(frozen=True, slots=True)
class _Stack:
    """One rank bucket: its tables by layer and group, and the step's plan for its slots."""

    tables: list[dict[str, _Table]]
    ranks: Tensor  # [A, L, slices of a layer] int32, which the tables' ranks are views of
    decode_work: LoraWork  # of steps that only decode
    prompt_work: LoraWork  # of other steps
    out_work: LoraWork  # of the tokens whose hidden state is wanted, in these


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
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
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
            self._check_room(bucket)
            stack = self._make_stack(bucket)
            torch.cuda.current_stream(self._device).synchronize()
            self._stacks = dict(sorted({**self._stacks, bucket: stack}.items()))

    def _check_room(self, bucket: int) -> None:
        """What the steps of the base model take must stay free."""
        free, _ = torch.cuda.mem_get_info(self._device)
        if free - self.bytes_of(bucket) < LEFT_FREE:
            raise EngineStartError(
                f"{self._max_loras} slots of rank {bucket} need {self.bytes_of(bucket) // MIB} "
                f"MiB of GPU memory; {free // MIB} MiB are free, and {LEFT_FREE // MIB} must stay.",
                "Lower max_loras, or gpu_memory_utilization.",
            )

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
            stack = self._stacks[bucket]
            if change.digest is None:
                stack.ranks[slot].zero_()
                continue
            host = self._hosts[change.digest]
            stack.ranks[slot].copy_(host.ranks, non_blocking=True)
            for tables, matrices in zip(stack.tables, host.layers, strict=True):
                for group, matrix in matrices.items():
                    tables[group].a[slot].copy_(matrix.a, non_blocking=True)
                    tables[group].b[slot].copy_(matrix.b, non_blocking=True)

    def plan(
        self,
        slots: NDArray[np.int32],
        num_tokens: NDArray[np.int32],
        samples: NDArray[np.bool_],
        *,
        decodes: bool,
    ) -> None:
        """Tell the device which tokens use which slots. `slots` [S]: -1 for base rows."""
        slot_T, slot_out = np.repeat(slots, num_tokens), slots[samples]
        for bucket, stack in self._stacks.items():
            first = self._buckets.index(bucket) * self._max_loras
            pairs = [(stack.prompt_work, slot_T), (stack.out_work, slot_out)]
            for work, per_token in [(stack.decode_work, slot_T)] if decodes else pairs:
                own = per_token - first
                own = np.where((own >= 0) & (own < self._max_loras), own, np.int32(-1))
                fill_work(work, make_tiles(own.astype(np.int32), work.tile))

    def step(self, num_tokens: int, num_seqs: int, *, decodes: bool, cut: bool) -> DeviceLoraStep:
        """What a forward pass of this size adds; its launches read the plan on the device. `cut`:
        the last layer goes on with the wanted tokens only."""
        parts = []
        for stack in self._stacks.values():
            work = _narrow(
                stack.decode_work if decodes else stack.prompt_work, num_tokens, self._max_loras
            )
            out_work = work
            if cut and not decodes:
                out_work = _narrow(stack.out_work, num_seqs, self._max_loras)
            parts.append((stack.tables, work, out_work))
        return DeviceLoraStep(parts, self._side)

    def _make_stack(self, bucket: int) -> _Stack:
        count = self._max_loras
        made: dict[str, Any] = {"dtype": self.dtype, "device": self._device}
        num_slices = sum(len(linear.widths) for linear in self.linears.values())
        ranks = torch.zeros(
            count, self._num_layers, num_slices, dtype=torch.int32, device=self._device
        )
        tables: list[dict[str, _Table]] = []
        for i in range(self._num_layers):
            tables.append({})
            first = 0
            for group, linear in self.linears.items():
                last = first + len(linear.widths)
                tables[i][group] = _Table(
                    a=torch.zeros((count, (last - first) * bucket, linear.num_in), **made),
                    b=torch.zeros((count, linear.num_out, bucket), **made),
                    ranks=ranks[:, i, first:last],
                    blocks=output_blocks(linear.widths, self._device),
                )
                first = last
        return _Stack(
            tables,
            ranks,
            make_work(self._max_seqs, count, self._device),
            make_work(self._max_tokens, count, self._device, prompt_tile(self.dtype)),
            make_work(self._max_seqs, count, self._device),
        )


@dataclass(frozen=True, slots=True)
class DeviceLoraStep:
    """The `LoraStep` of a GPU. Shrinking runs on a stream beside the base model's product."""

    parts: list[tuple[list[dict[str, _Table]], LoraWork, LoraWork]]  # tables, work, out_work
    side: torch.cuda.Stream

    def shrink(self, layer: int, group: str, x_TK: Tensor, *, out: bool) -> list[Tensor]:
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            return [
                lora_shrink(
                    x_TK, tables[layer][group].a, tables[layer][group].ranks, late if out else work
                )
                for tables, work, late in self.parts
            ]

    def expand(
        self, layer: int, group: str, narrow: list[Tensor], y_TN: Tensor, *, out: bool
    ) -> None:
        torch.cuda.current_stream().wait_stream(self.side)
        for h, (tables, work, late) in zip(narrow, self.parts, strict=True):
            table = tables[layer][group]
            lora_expand(y_TN, h, table.b, table.ranks, table.blocks, late if out else work)


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
    layers: list[dict[str, PinnedMatrix]] = []
    ranks: list[list[int]] = []
    start = 0
    for layer in host.layers:
        layers.append({})
        ranks.append([])
        for group, linear in linears.items():
            weight = layer[group]
            scales = (0.0,) * len(linear.widths) if weight is None else weight.scales
            ranks[-1] += [weight.rank if weight and scale else 0 for scale in scales]
            if weight is not None:
                a, b = torch.split(memory[start : start + sum(sizes[group])], sizes[group])
                layers[-1][group] = _laid_out(weight, linear, bucket, a, b)
                start += sum(sizes[group])
    pinned_ranks = torch.tensor(ranks, dtype=torch.int32).pin_memory()
    return PinnedAdapter(host.rank, memory.nbytes, layers, pinned_ranks)


def _laid_out(
    weight: LoraWeight, linear: Linear, bucket: int, a: Tensor, b: Tensor
) -> PinnedMatrix:
    slices = len(linear.widths)
    a, b = a.view(slices, bucket, linear.num_in), b.view(linear.num_out, bucket)
    a[:, : weight.rank] = weight.a.view(slices, weight.rank, linear.num_in)
    scales = torch.tensor(weight.scales).repeat_interleave(torch.tensor(linear.widths))
    b[:, : weight.rank] = weight.b * scales[:, None]
    return PinnedMatrix(a.view(slices * bucket, linear.num_in), b)


def _narrow(work: LoraWork, count: int, num_slots: int) -> LoraWork:
    """The same buffers with a grid for `count` tokens."""
    return replace(work, tiles=work.tiles[: ceil_div(count, work.tile) + num_slots])
