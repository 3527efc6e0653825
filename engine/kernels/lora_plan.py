"""Which tokens of a flat batch use which adapter slot: sorted once a step, cut into tiles.

A tile is up to `tile` tokens of one slot, so that a program reads an adapter's weights once for all
of them. Tokens without an adapter are in no tile and cost nothing. There are at most
ceil(T ÷ tile) + slots tiles, which is the static grid of the GPU kernels; surplus programs exit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TILE = 16  # tokens of a tile on a GPU: the least that a matrix instruction takes


@dataclass(slots=True)
class LoraTiles:
    """The plan of one step on the host. No entry: base."""

    tokens: NDArray[np.int32]  # sorted by slot
    tiles: NDArray[np.int32]  # [n, 3]: slot, first of `tokens`, count
    tokens_at: int = 0  # addresses of the two, for a compiled kernel
    tiles_at: int = 0

    def __post_init__(self) -> None:
        self.tokens_at, self.tiles_at = self.tokens.ctypes.data, self.tiles.ctypes.data


def make_tiles(slot_T: NDArray[np.int32], tile: int) -> LoraTiles:
    """Sort tokens by slot (-1 = base) and cut each slot's into tiles."""
    order = np.argsort(slot_T, kind="stable").astype(np.int32)
    order = order[np.searchsorted(slot_T[order], 0) :]
    slots, counts = np.unique(slot_T[order], return_counts=True)
    num_tiles = -(-counts // tile)
    which = np.repeat(np.arange(len(slots)), num_tiles)
    inner = np.arange(len(which)) - np.repeat(np.cumsum(num_tiles) - num_tiles, num_tiles)
    tiles = np.empty((len(which), 3), np.int32)
    tiles[:, 0] = slots[which]
    tiles[:, 1] = (np.cumsum(counts) - counts)[which] + inner * tile
    tiles[:, 2] = np.minimum(tile, counts[which] - inner * tile)
    return LoraTiles(order, tiles)


@dataclass(slots=True)
class LoraWork:
    """The plan on a device, at addresses that a CUDA graph may keep."""

    tokens: Tensor  # [T] i32
    tiles: Tensor  # [bound, 3] i32
    num_tiles: Tensor  # [1] i32
    tile: int  # most tokens of a tile


def prompt_tile(dtype: torch.dtype) -> int:
    """Where prompts bring many tokens of one adapter. float32 stays small: its tests
    failed at 64 rows on an H200 (Triton 3.6), for a cause not looked into."""
    return 64 if dtype.itemsize == 2 else TILE


def make_work(max_tokens: int, num_slots: int, device: torch.device, tile: int = TILE) -> LoraWork:
    bound = -(-max_tokens // tile) + num_slots
    return LoraWork(
        tokens=torch.zeros(max_tokens, dtype=torch.int32, device=device),
        tiles=torch.zeros(bound, 3, dtype=torch.int32, device=device),
        num_tiles=torch.zeros(1, dtype=torch.int32, device=device),
        tile=tile,
    )


def fill_work(work: LoraWork, plan: LoraTiles) -> None:
    """Copy a step's plan to the device; launches before it still see the plan before."""
    count = len(plan.tiles)
    for device, host in ((work.tokens, plan.tokens), (work.tiles, plan.tiles)):
        pinned = torch.from_numpy(host)
        if device.is_cuda:
            pinned = pinned.pin_memory()
        device[: len(host)].copy_(pinned, non_blocking=True)
    work.num_tiles.fill_(count)
