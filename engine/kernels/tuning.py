"""Launch choices of all kernels in one table: (kernel, device, head size, dtype, Triton version).

A row found for the running device and Triton version wins; else the rule for any device applies.
`evidence` holds the measurement behind a row, or "untuned". Rows come from
`python -m benchmarks.kernels sweep`, which prints them ready to paste.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from engine.kernels.gpu import VERSION, pad

DTYPES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one attention kernel is compiled and spread."""

    tile: int  # keys per iteration, at most two of the cache's blocks
    warps: int
    stages: int
    rows: int = 16  # prefill: query rows per program
    programs_per_sm: int = 2  # decode: spans are cut so that about this many programs exist
    min_span: int = 256  # decode: keys below which another program costs more than it hides
    evict: str = ""  # cache hint of KV loads: "" or "evict_first"
    evidence: str = "untuned"


# (kernel, device name, head size, dtype, group, Triton major.minor) → launch
TUNED: dict[tuple[str, str, int, str, int, str], Launch] = {}


def decode_launch(device: torch.device, head_dim: int, dtype: torch.dtype, group: int) -> Launch:
    """64 × 128 bf16 tiles on 4 warps and 3 stages hold 96 KiB, two programs per multiprocessor."""
    if row := _row("decode", device, head_dim, dtype, group):
        return row
    tile = _tile_within(head_dim, dtype, tile_bytes=16 * 1024)
    return Launch(tile=tile, warps=4, stages=3 if pad(head_dim) <= 128 else 2)


def prefill_launch(device: torch.device, head_dim: int, dtype: torch.dtype, group: int) -> Launch:
    """128 rows on 8 warps where a row is at most 256 bytes, fewer for wider rows and for float32,
    whose operands are held three times over by its product."""
    if row := _row("prefill", device, head_dim, dtype, group):
        return row
    if dtype == torch.float32:
        tile = _tile_within(head_dim, dtype, tile_bytes=8 * 1024)
        warps = 8 if pad(head_dim) > 128 else 4
        return Launch(tile=tile, warps=warps, stages=2, rows=pad(group, 32 if warps == 4 else 16))
    tile = _tile_within(head_dim, dtype, tile_bytes=16 * 1024)
    if pad(head_dim) <= 128:
        warps = 8 if pad(head_dim) == 128 else 4
        return Launch(tile=tile, warps=warps, stages=3, rows=pad(group, 128))
    return Launch(tile=tile, warps=8, stages=2, rows=pad(group, 64))


@dataclass(frozen=True, slots=True, kw_only=True)
class SkinnyLaunch:
    """How skinny_gemm.py cuts a matrix."""

    block_n: int
    block_k: int
    warps: int


def skinny_launch(num_out: int, width: int) -> SkinnyLaunch:
    """The best or near it of each matrix swept on an H200 (docs/LOG.md, 2026-11-23): long rows in
    large steps, few outputs a program where there are few, so that all multiprocessors work."""
    if width < 2048:
        return SkinnyLaunch(block_n=8, block_k=min(pad(width), 512), warps=4)
    return SkinnyLaunch(block_n=2 if num_out <= 2048 else 4, block_k=1024, warps=4)


def _tile_within(head_dim: int, dtype: torch.dtype, tile_bytes: int) -> int:
    """Keys per tile so that one K or V tile stays within `tile_bytes`; 16 … 64."""
    return max(16, min(64, tile_bytes // (pad(head_dim) * dtype.itemsize)))


def _row(
    kernel: str, device: torch.device, head_dim: int, dtype: torch.dtype, group: int
) -> Launch | None:
    return TUNED.get((kernel, device_name(device), head_dim, DTYPES[dtype], group, VERSION))


@cache
def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def cache_tile(block_size: int, tile: int) -> int:
    """The largest power of two up to `tile` that cuts a block evenly or is two whole blocks."""
    fits = min(tile, block_size & -block_size)
    if tile == 2 * block_size == 2 * fits:
        fits = tile
    if fits < 16:
        raise ValueError(f"Block size {block_size} does not work on a GPU: use 16, 32 or 64.")
    return fits


def precision_of(dtype: torch.dtype) -> str:
    """float32 matrix products as three tf32 ones (error near 1e-6); others have one way."""
    return "tf32x3" if dtype == torch.float32 else "tf32"


def row_warps(width: int) -> int:
    """Warps for a program that holds one row of `width` elements: 8 or more elements a thread."""
    return min(16, max(1, pad(width) // 512))
