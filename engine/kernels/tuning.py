"""Launch choices of all kernels in one table: (kernel, device, head size, dtype, Triton version).

A row found for the running device and Triton version wins; else the rule for any device applies.
`evidence` holds the measurement behind a row, or "untuned". Rows come from
`python -m benchmarks.kernels sweep`, which prints candidates. The number of query heads a key head
serves is no part of the key: 2, 4, 6 and 7 wanted the same launches on an H200.
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
    programs_per_sm: int = 2  # decode: spans are cut so that at most this many programs exist
    min_span: int = 128  # decode: keys below which another program costs more than it hides
    long_span: int = 512  # decode: the same where a sequence has more than a few parts
    evict: str = ""  # cache hint of KV loads: "" or "evict_first"
    evidence: str = "untuned"


# (kernel, device name, head size, dtype, Triton major.minor) → launch; microseconds of
# sequences × context with 8 key heads
TUNED: dict[tuple[str, str, int, str, str], Launch] = {
    ("decode", "NVIDIA H200", 128, "bf16", "3.6"): Launch(
        tile=64, warps=2, stages=3,
        evidence="1x512 8.0, 1x2048 8.9, 1x8192 15.6, 8x512 11.6, 8x2048 23.8, 8x8192 69.3, "
        "32x512 21.0, 32x2048 66.9, 32x8192 248.5, 128x512 69.8, 128x2048 253.5, 128x8192 984.8, "
        "256x512 131.5, 256x2048 487.6, 256x8192 1894.8; at most 4 % over the best per cell",
    ),
    ("decode", "NVIDIA H200", 64, "bf16", "3.6"): Launch(
        tile=64, warps=2, stages=3, long_span=256,
        evidence="1x512 6.1, 1x2048 7.3, 1x8192 10.6, 8x512 8.1, 8x2048 14.8, 8x8192 39.8, "
        "32x512 12.2, 32x2048 36.6, 32x8192 130.3, 128x512 38.7, 128x2048 127.8, 128x8192 486.7, "
        "256x512 70.8, 256x2048 248.0, 256x8192 958.1; at most 3 % over the best per cell",
    ),
    ("prefill", "NVIDIA H200", 128, "bf16", "3.6"): Launch(
        tile=64, warps=8, stages=3, rows=128,
        evidence="4x1024 110.3, 4x4096 1202.8, 1x16384 4442.3; at most 3 % over the best per cell",
    ),
    ("prefill", "NVIDIA H200", 64, "bf16", "3.6"): Launch(
        tile=64, warps=4, stages=3, rows=128,
        evidence="4x1024 64.0, 4x4096 665.4, 1x16384 2528.1; at most 1 % over the best per cell",
    ),
}  # fmt: skip


def decode_launch(device: torch.device, head_dim: int, dtype: torch.dtype) -> Launch:
    """64 × 128 bf16 tiles on 4 warps and 3 stages hold 96 KiB, two programs per multiprocessor."""
    if row := _row("decode", device, head_dim, dtype):
        return row
    tile = _tile_within(head_dim, dtype, tile_bytes=16 * 1024)
    return Launch(tile=tile, warps=4, stages=3 if pad(head_dim) <= 128 else 2)


def prefill_launch(device: torch.device, head_dim: int, dtype: torch.dtype, group: int) -> Launch:
    """128 rows on 8 warps where a row is at most 256 bytes, fewer for wider rows and for float32,
    whose operands are held three times over by its product."""
    row = _row("prefill", device, head_dim, dtype)
    if row is not None and row.rows >= group:
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
    """The best or near it of each matrix swept on an H200 (docs/LOG.md, 2026-11-30): few outputs a
    program where there are few, so that all multiprocessors work; where there are many, tall tiles
    in short steps."""
    if width < 2048:
        if num_out <= 2048:
            return SkinnyLaunch(block_n=2, block_k=512, warps=4)
        if num_out <= 8192:
            return SkinnyLaunch(block_n=4, block_k=256, warps=4)
        return SkinnyLaunch(block_n=8, block_k=256, warps=2)
    if num_out <= 2048:
        return SkinnyLaunch(block_n=2 if width == 2048 else 1, block_k=1024, warps=8)
    if width > 8192:
        return SkinnyLaunch(block_n=2, block_k=512, warps=4)
    if num_out <= 4096:
        return SkinnyLaunch(block_n=8, block_k=512, warps=8)
    return SkinnyLaunch(block_n=16, block_k=512, warps=4)


def _tile_within(head_dim: int, dtype: torch.dtype, tile_bytes: int) -> int:
    """Keys per tile so that one K or V tile stays within `tile_bytes`; 16 … 64."""
    return max(16, min(64, tile_bytes // (pad(head_dim) * dtype.itemsize)))


def _row(kernel: str, device: torch.device, head_dim: int, dtype: torch.dtype) -> Launch | None:
    return TUNED.get((kernel, device_name(device), head_dim, DTYPES[dtype], VERSION))


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
