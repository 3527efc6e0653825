"""The slots of a GPU: stacked adapter weights for each rank bucket, and a step's plan beside them.

A bucket's stack is made when the first adapter of its ranks is read, by the thread that reads, so
that an adapter for which no memory is left fails alone. A slot is one run of memory in which all
matrices of an adapter lie as they do in page-locked host memory: filling it is one copy, or one for
each run of linears that the adapter changes, beside the step that is still computing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import EngineStartError
from engine.kernels.add_norm import add_norm
from engine.kernels.lora_delta import LoraWeight
from engine.kernels.lora_expand import OutputBlocks, lora_expand, output_blocks
from engine.kernels.lora_gated import lora_gated
from engine.kernels.lora_norm import lora_norm
from engine.kernels.lora_plan import (
    BASE,
    OTHERS,
    TILE,
    LoraWork,
    fill_work,
    make_tiles,
    make_work,
    prompt_tile,
    tile_bound,
)
from engine.kernels.lora_shrink import lora_shrink
from engine.lora.layout import GROUPS, bucket_of, linear_shapes
from engine.lora.weights import AdapterReader, HostAdapter
from engine.messages import AdapterSource
from engine.models.spec import ModelSpec
from engine.runner.step_buffers import StepShape
from engine.scheduler.plan import SlotChange

MIB = 1 << 20
LEFT_FREE = 1 << 30  # bytes, for activations of steps that no graph holds
BESIDE = 2048  # tokens up to which a product leaves room for shrinking beside it


@dataclass(frozen=True, slots=True)
class Linear:
    """One merged linear: inputs, and outputs of each slice."""

    num_in: int
    widths: tuple[int, ...]

    @property
    def num_out(self) -> int:
        return sum(self.widths)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the matrices of one linear of one layer lie in a slot, counted in numbers."""

    layer: int
    group: str
    linear: Linear
    rank: int  # of the bucket
    start: int

    @property
    def size_a(self) -> int:
        return len(self.linear.widths) * self.rank * self.linear.num_in

    @property
    def end(self) -> int:
        return self.start + self.size_a + self.rank * self.linear.num_out

    def cut(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """A [.., n·R, K] and B [.., R, N] of slots [.., numbers]; the scale is folded into B."""
        a = memory[..., self.start : self.start + self.size_a]
        b = memory[..., self.start + self.size_a : self.end]
        return (
            a.view(*a.shape[:-1], -1, self.linear.num_in),
            b.view(*b.shape[:-1], self.rank, -1),
        )


def slot_places(linears: Mapping[str, Linear], num_layers: int, rank: int) -> list[Place]:
    """A slot's layout: layer by layer, group by group."""
    places: list[Place] = []
    for layer in range(num_layers):
        for group, linear in linears.items():
            places.append(Place(layer, group, linear, rank, places[-1].end if places else 0))
    return places


@dataclass(frozen=True, slots=True)
class PinnedAdapter:
    """An adapter in page-locked host memory."""

    rank: int
    nbytes: int
    runs: list[tuple[int, Tensor]]  # where in a slot, and the numbers there
    ranks: Tensor  # [L, slices of a layer] int32, true rank of each slice; 0: left alone


@dataclass(frozen=True, slots=True)
class _Table:
    """The slots of one linear in one layer."""

    a: Tensor  # [A, n·R, K]
    b: Tensor  # [A, R, N]
    ranks: Tensor  # [A, n] int32
    blocks: OutputBlocks


@dataclass(frozen=True, slots=True)
class _Stack:
    """One rank bucket: its tables by layer and group, and the step's plan for its slots."""

    memory: Tensor  # [A, numbers of a slot], which the tables' matrices are views of
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
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
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
        numbers = slot_places(self.linears, self._num_layers, bucket)[-1].end
        return self._max_loras * numbers * self.dtype.itemsize

    def change(self, changes: Sequence[SlotChange]) -> None:
        """Fill and clear slots, in order, before what the current stream does next. A step that
        still computes may read a slot that changes only for rows whose result nobody takes."""
        with torch.cuda.stream(self._copies):
            for change in changes:
                bucket = self._buckets[change.slot // self._max_loras]
                slot = change.slot % self._max_loras
                stack = self._stacks[bucket]
                if change.digest is None:
                    stack.ranks[slot].zero_()
                    continue
                host = self._hosts[change.digest]
                stack.ranks[slot].copy_(host.ranks, non_blocking=True)
                for start, run in host.runs:
                    place = stack.memory[slot, start : start + len(run)]
                    place.copy_(run, non_blocking=True)
        torch.cuda.current_stream(self._device).wait_stream(self._copies)

    def plan(
        self,
        slots: NDArray[np.int32],
        num_tokens: NDArray[np.int32],
        samples: NDArray[np.bool_],
        shape: StepShape,
    ) -> None:
        """Tell the device which tokens use which slots. `slots` [S]: -1 for base rows, which go to
        the first stack, as does what pads the step to its shape."""
        slot_T = _padded(np.repeat(slots, num_tokens), shape.tokens)
        slot_out = _padded(slots[samples], shape.seqs)
        base = BASE
        for bucket, stack in self._stacks.items():
            first = self._buckets.index(bucket) * self._max_loras
            pairs = [(stack.prompt_work, slot_T), (stack.out_work, slot_out)]
            for work, per_token in [(stack.decode_work, slot_T)] if shape.decodes else pairs:
                own = per_token - first
                mine = (own >= 0) & (own < self._max_loras)
                own = np.where(mine, own, np.where(per_token < 0, base, OTHERS))
                fill_work(work, make_tiles(own.astype(np.int32), work.tile, BASE))
            base = OTHERS

    def step(self, shape: StepShape, *, cut: bool) -> DeviceLoraStep:
        """What a forward pass of this shape adds; its launches read the plan on the device. `cut`:
        the last layer goes on with the wanted tokens only."""
        parts = []
        for stack in self._stacks.values():
            work = stack.decode_work if shape.decodes else stack.prompt_work
            out_work = work = _narrow(work, shape.tokens, self._max_loras)
            if cut and not shape.decodes:
                out_work = _narrow(stack.out_work, shape.seqs, self._max_loras)
            parts.append((stack.tables, work, out_work))
        return DeviceLoraStep(parts, self._side if shape.tokens <= BESIDE else None)

    def _make_stack(self, bucket: int) -> _Stack:
        count, places = self._max_loras, slot_places(self.linears, self._num_layers, bucket)
        num_slices = sum(len(linear.widths) for linear in self.linears.values())
        memory = torch.zeros(count, places[-1].end, dtype=self.dtype, device=self._device)
        ranks = torch.zeros(
            count, self._num_layers, num_slices, dtype=torch.int32, device=self._device
        )
        blocks = {
            group: output_blocks(linear.widths, self._device)
            for group, linear in self.linears.items()
        }
        tables: list[dict[str, _Table]] = [{} for _ in range(self._num_layers)]
        for place in places:
            made = tables[place.layer]
            first = sum(table.ranks.shape[1] for table in made.values())
            last = first + len(place.linear.widths)
            a, b = place.cut(memory)
            own = ranks[:, place.layer, first:last]
            made[place.group] = _Table(a, b, own, blocks[place.group])
        return _Stack(
            memory,
            tables,
            ranks,
            make_work(self._max_seqs, count, self._device),
            make_work(self._max_tokens, count, self._device, prompt_tile(self.dtype)),
            make_work(self._max_seqs, count, self._device),
        )


@dataclass(frozen=True, slots=True)
class DeviceLoraStep:
    """The `LoraStep` of a GPU."""

    parts: list[tuple[list[dict[str, _Table]], LoraWork, LoraWork]]  # tables, work, out_work
    side: torch.cuda.Stream | None
    """Where shrinking runs beside the base model's product; None: both would be slower."""

    def shrink(self, layer: int, group: str, x_TK: Tensor, *, out: bool) -> list[Tensor]:
        if self.side is None:
            return self._shrink(layer, group, x_TK, out=out)
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            return self._shrink(layer, group, x_TK, out=out)

    def _shrink(self, layer: int, group: str, x_TK: Tensor, *, out: bool) -> list[Tensor]:
        return [
            lora_shrink(
                x_TK, tables[layer][group].a, tables[layer][group].ranks, late if out else work
            )
            for tables, work, late in self.parts
        ]

    def expand(
        self, layer: int, group: str, narrow: list[Tensor], y_TN: Tensor, *, out: bool
    ) -> None:
        self._join()
        for h, (tables, work, late) in zip(narrow, self.parts, strict=True):
            table = tables[layer][group]
            lora_expand(y_TN, h, table.b, table.ranks, table.blocks, late if out else work)

    def add_norm(
        self,
        layer: int,
        group: str,
        narrow: list[Tensor],
        x_TE: Tensor,
        residual_TE: Tensor,
        weight_E: Tensor,
        eps: float,
        *,
        out: bool,
    ) -> Tensor:
        if any((late if out else work).tile != TILE for _, work, late in self.parts):
            self.expand(layer, group, narrow, x_TE, out=out)
            return add_norm(x_TE, residual_TE, weight_E, eps)
        self._join()
        out_TE = torch.empty_like(residual_TE)
        for h, (tables, work, late) in zip(narrow, self.parts, strict=True):
            b, ranks = tables[layer][group].b, tables[layer][group].ranks
            plan = late if out else work
            lora_norm(out_TE, x_TE, residual_TE, weight_E, eps, h, b, ranks, plan)
        return out_TE

    def gate(self, layer: int, narrow: list[Tensor], gate_up_TF: Tensor, *, out: bool) -> Tensor:
        self._join()
        gated_TF = gate_up_TF.new_empty(gate_up_TF.shape[0], gate_up_TF.shape[1] // 2)
        for h, (tables, work, late) in zip(narrow, self.parts, strict=True):
            table = tables[layer]["gate_up"]
            lora_gated(gated_TF, gate_up_TF, h, table.b, table.ranks, late if out else work)
        return gated_TF

    def _join(self) -> None:
        if self.side is not None:
            torch.cuda.current_stream().wait_stream(self.side)


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
    """One page-locked allocation of the linears that the adapter changes, as a slot holds them."""
    places = slot_places(linears, len(host.layers), bucket_of(host.rank))
    wanted = [place for place in places if host.layers[place.layer][place.group] is not None]
    memory = torch.zeros(sum(p.end - p.start for p in wanted), dtype=dtype).pin_memory()
    runs: list[tuple[int, Tensor]] = []
    used = 0
    for place in wanted:
        size = place.end - place.start
        if runs and runs[-1][0] + len(runs[-1][1]) == place.start:
            first = runs.pop()[0]
        else:
            first = place.start
        run = memory[used - (place.start - first) : used + size]
        runs.append((first, run))
        used += size
        weight = host.layers[place.layer][place.group]
        assert weight is not None
        _lay_out(weight, place, run[place.start - first :])
    ranks: list[list[int]] = [[] for _ in host.layers]
    for place in places:
        weight = host.layers[place.layer][place.group]
        scales = (0.0,) * len(place.linear.widths) if weight is None else weight.scales
        ranks[place.layer] += [weight.rank if weight and scale else 0 for scale in scales]
    pinned_ranks = torch.tensor(ranks, dtype=torch.int32).pin_memory()
    return PinnedAdapter(host.rank, memory.nbytes, runs, pinned_ranks)


def _lay_out(weight: LoraWeight, place: Place, memory: Tensor) -> None:
    """Write one linear's matrices to its part of an adapter's memory."""
    a, b = replace(place, start=0).cut(memory)
    a = a.view(len(place.linear.widths), -1, place.linear.num_in)
    a[:, : weight.rank] = weight.a.view(-1, weight.rank, place.linear.num_in)
    scales = torch.tensor(weight.scales).repeat_interleave(torch.tensor(place.linear.widths))
    b[: weight.rank] = (weight.b * scales[:, None]).T


def _narrow(work: LoraWork, count: int, num_slots: int) -> LoraWork:
    """The same buffers with a grid for `count` tokens."""
    return replace(work, tiles=work.tiles[: tile_bound(count, num_slots, work.tile)])


def _padded(slots: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """With base rows up to `count`."""
    return np.pad(slots, (0, count - len(slots)), constant_values=BASE)
