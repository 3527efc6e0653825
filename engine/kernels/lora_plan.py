"""Which tokens of a flat batch use which adapter slot: sorted once a step, cut into tiles.

A tile is up to `tile` tokens of one slot, so that a program reads an adapter once for all
of them. On a CPU tokens without an adapter are in no tile and cost nothing. On a GPU they have
tiles of slot -1, for the kernel that computes every token (lora_gated.py); others pass those over.
There are at most ceil(T ÷ tile) + slots + 1 tiles, which is the static grid of the GPU kernels;
surplus tiles have a count of 0 and their programs exit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TILE = 16  # tokens of a tile on a GPU: the least that a matrix instruction takes
BASE, OTHERS = -1, -2  # instead of a slot: no adapter, a slot of another stack


@dataclass(slots=True)
class LoraTiles:
    """The plan of one step on the host."""

    tokens: NDArray[np.int32]  # sorted by slot
    tiles: NDArray[np.int32]  # [n, 3]: slot, first of `tokens`, count
    tokens_at: int = 0  # addresses of the two, for a compiled kernel
    tiles_at: int = 0

    def __post_init__(self) -> None:
        self.tokens_at, self.tiles_at = self.tokens.ctypes.data, self.tiles.ctypes.data


def make_tiles(slot_T: NDArray[np.int32], tile: int, least: int = 0) -> LoraTiles:
    """Sort tokens by slot and cut each slot's into tiles. Tokens of slots below `least` are left
    out."""
    order = np.argsort(slot_T, kind="stable").astype(np.int32)
    order = order[np.searchsorted(slot_T[order], least) :]
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

    words: Tensor  # i32, all of the two below
    tiles: Tensor  # [bound, 3]
    tokens: Tensor  # [T]
    tile: int  # most tokens of a tile


def prompt_tile(dtype: torch.dtype) -> int:
    """Where prompts bring many tokens of one adapter. float32 stays small: the
    fused kernels have not been tried with its 64 rows (shrink and expand alone are right there)."""
    return 64 if dtype.itemsize == 2 else TILE


def make_work(max_tokens: int, num_slots: int, device: torch.device, tile: int = TILE) -> LoraWork:
    bound = tile_bound(max_tokens, num_slots, tile)
    words = torch.zeros(3 * bound + max_tokens, dtype=torch.int32, device=device)
    return LoraWork(words, words[: 3 * bound].view(bound, 3), words[3 * bound :], tile)


def tile_bound(num_tokens: int, num_slots: int, tile: int) -> int:
    """The most tiles that so many tokens make, those of base rows included."""
    return -(-num_tokens // tile) + num_slots + 1


def fill_work(work: LoraWork, plan: LoraTiles) -> None:
    """Copy a step's plan to the device; launches before it still see the plan before."""
    first = work.tiles.numel()
    host = torch.zeros(first + len(plan.tokens), dtype=torch.int32)
    array = host.numpy()
    array[: plan.tiles.size] = plan.tiles.ravel()
    array[first:] = plan.tokens
    if work.words.is_cuda:
        host = host.pin_memory()
    work.words[: len(host)].copy_(host, non_blocking=True)
