"""A step's numbers on their way to the device: one pinned write, one transfer, fixed addresses.

Memory is one run of 32-bit words. First come the sampled rows, at places that never move; then the
flat batch of a forward pass, laid out for its `StepShape`, so that a graph captured for a shape
always reads the same addresses. Every field begins on 16 bytes, which kernels are compiled for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = NDArray[np.int32]
T = TypeVar("T")
RING = 3  # transfers that may be under way: one step computes, one is launched, one is written
NUM_SETTINGS = 9  # `SampleRows` fields of 32 bits, in its order
WIDE_FIELDS = 3  # of 64 bits: seeds, places, rows


@dataclass(frozen=True, slots=True)
class StepShape:
    """Sizes a forward pass is computed at. `decodes`: every sequence has one token; `lora`: some
    rows have an adapter."""

    tokens: int
    seqs: int
    decodes: bool
    lora: bool = False


@dataclass(frozen=True, slots=True)
class StepFields(Generic[T]):
    """The flat batch by name: tensors on the device, arrays on the host."""

    token_ids: T  # [T]
    positions: T  # [T]
    slots: T  # [T]
    rope_lengths: T  # [T]
    rows: T  # [S]
    seq_len: T  # [S]
    out_rows: T  # [S]
    q_start: T  # [S+1]


@dataclass(frozen=True, slots=True)
class DrawFields(Generic[T]):
    """The sampled rows by name; the first entries are this step's."""

    seeds: T  # [M] int64
    places: T  # [M] int64, position of the token to draw
    rows: T  # [M] int64, batch row; one past the last: nobody's
    settings: T  # [9, M] int32


@dataclass(slots=True)
class _Slot:
    words: Tensor
    array: Words
    copied: torch.cuda.Event


class StepBuffers:
    """A ring of pinned buffers and the one device buffer they are copied to."""

    def __init__(self, max_tokens: int, max_seqs: int, device: torch.device) -> None:
        self._most = _aligned(max_seqs)
        self._draw_words = self._most * (2 * WIDE_FIELDS + NUM_SETTINGS)
        size = self._draw_words + 4 * _aligned(max_tokens) + 4 * _aligned(max_seqs + 1)
        self._device = torch.zeros(size, dtype=torch.int32, device=device)
        self._ring = [_make_slot(size) for _ in range(RING)]
        self._turn = 0

    def begin(self) -> Words:
        """The next host buffer, as soon as its last transfer is over."""
        self._turn = (self._turn + 1) % RING
        slot = self._ring[self._turn]
        slot.copied.synchronize()
        return slot.array

    def send(self, shape: StepShape) -> None:
        """Copy the buffer that `begin` gave to the device, on the current stream."""
        slot = self._ring[self._turn]
        used = self._draw_words + sum(map(_aligned, _sizes(shape)))
        self._device[:used].copy_(slot.words[:used], non_blocking=True)
        slot.copied.record()

    def host_step(self, array: Words, shape: StepShape) -> StepFields[Words]:
        return StepFields(*_cut(array[self._draw_words :], shape))

    def device_step(self, shape: StepShape) -> StepFields[Tensor]:
        return StepFields(*_cut(self._device[self._draw_words :], shape))

    def host_draw(self, array: Words) -> DrawFields[NDArray[Any]]:
        most, wide = self._most, 2 * WIDE_FIELDS * self._most
        longs = array[:wide].view(np.int64).reshape(WIDE_FIELDS, most)
        settings = array[wide : self._draw_words].reshape(NUM_SETTINGS, most)
        return DrawFields(longs[0], longs[1], longs[2], settings)

    def device_draw(self) -> DrawFields[Tensor]:
        most, wide = self._most, 2 * WIDE_FIELDS * self._most
        longs = self._device[:wide].view(torch.int64).view(WIDE_FIELDS, most)
        settings = self._device[wide : self._draw_words].view(NUM_SETTINGS, most)
        return DrawFields(longs[0], longs[1], longs[2], settings)


def _make_slot(size: int) -> _Slot:
    words = torch.zeros(size, dtype=torch.int32, pin_memory=True)
    return _Slot(words, words.numpy(), torch.cuda.Event())  # type: ignore[no-untyped-call]


def _aligned(count: int) -> int:
    return -(-count // 4) * 4


def _sizes(shape: StepShape) -> list[int]:
    """Of the fields of `StepFields`, in its order."""
    return [shape.tokens] * 4 + [shape.seqs] * 3 + [shape.seqs + 1]


def _cut(words: Any, shape: StepShape) -> list[Any]:
    pieces, start = [], 0
    for size in _sizes(shape):
        pieces.append(words[start : start + size])
        start += _aligned(size)
    return pieces
