"""Tries tile, stage, warp and spread variants of both attention kernels on the device.

`python -m benchmarks.kernels sweep` prints the best per shape, then rows for TUNED.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from triton.runtime.errors import TritonError

from benchmarks.kernel_scenes import (
    BLOCK,
    CUDA,
    LLAMA_1B,
    LLAMA_8B,
    QWEN3_06B,
    Heads,
    Scene,
    scene,
    timed,
    work_for,
)
from engine.kernels.attention_plan import plan_attention
from engine.kernels.decode_attention import decode_attention
from engine.kernels.gpu import VERSION
from engine.kernels.prefill_attention import prefill_attention
from engine.kernels.tuning import Launch, cache_tile, device_name

SWEPT = (LLAMA_8B, QWEN3_06B, LLAMA_1B)
DECODE_SHAPES = [(1, 512), (1, 8192), (8, 2048), (32, 2048), (128, 2048), (256, 512), (34, 2048)]
PREFILL_SHAPES = [(4, 1024), (4, 4096)]
COMPILERS = 12  # processes that fill Triton's cache before anything is timed


def variants(what: str) -> list[Launch]:
    """Compiled forms to try; `programs_per_sm` needs no compilation and is tried inside."""
    if what == "decode":
        return [
            Launch(tile=tile, warps=warps, stages=stages, evict=evict)
            for tile in (32, 64, 128)
            for warps in (2, 4, 8)
            for stages in (2, 3, 4, 5)
            for evict in ("", "evict_first")
            if not (tile == 32 and stages == 2) and not (tile == 128 and stages > 3)
        ]
    return [
        Launch(tile=tile, warps=warps, stages=stages, rows=rows_)
        for tile in (64, 128)
        for rows_, warps in ((64, 4), (128, 4), (128, 8), (256, 8))
        for stages in (2, 3, 4)
    ]


def compile_share(index: int) -> None:
    """One compiler process: launch every COMPILERS-th variant once on the smallest batch."""
    jobs = [
        (what, shape, v)
        for what in ("decode", "prefill")
        for shape in SWEPT
        for v in variants(what)
    ]
    for what, shape, launch in jobs[index::COMPILERS]:
        one_time(what, shape, 1, 512, launch, only_compile=True)


def one_time(
    what: str, shape: Heads, seqs: int, length: int, launch: Launch, *, only_compile: bool = False
) -> float:
    """Seconds of one variant, infinite where the device cannot hold it."""
    kernel = decode_attention if what == "decode" else prefill_attention
    made = scene(shape, seqs, 1 if what == "decode" else length, length, launch)
    return _time_scene(made, kernel, only_compile)


def _time_scene(made: Scene, kernel: Callable[..., None], only_compile: bool = False) -> float:
    try:
        launches = made.launches(kernel)
        if only_compile:
            launches[0]()
            return 0.0
        return timed(launches, replays=3)
    except (TritonError, RuntimeError):  # too much shared memory, or too many registers
        return float("inf")


def sweep() -> None:
    print("compiling variants in", COMPILERS, "processes", flush=True)
    command = [sys.executable, "-m", "benchmarks.kernels", "compile"]
    crew = [subprocess.Popen([*command, str(i)]) for i in range(COMPILERS)]
    for worker in crew:
        worker.wait()
    summary: list[str] = []
    for what, shapes in (("decode", DECODE_SHAPES), ("prefill", PREFILL_SHAPES)):
        for shape in SWEPT:
            summary.append(sweep_shape(what, shape, shapes))
    print("\nfor TUNED in engine/kernels/tuning.py:")
    print("\n".join(summary))


def sweep_shape(what: str, shape: Heads, shapes: Sequence[tuple[int, int]]) -> str:
    """Try all variants on all shapes; print the best of each; return the best for all of them."""
    kernel = decode_attention if what == "decode" else prefill_attention
    spread = [(2, 256)]
    if what == "decode":
        spread = [(1, 256), (2, 256), (3, 256), (4, 128), (4, 256), (8, 256)]
    times: dict[Launch, list[float]] = {}
    for seqs, length in shapes:
        made = scene(shape, seqs, 1 if what == "decode" else length, length)
        for compiled in variants(what):
            if cache_tile(BLOCK, compiled.tile) != compiled.tile:
                continue
            for per_sm, min_span in spread:
                launch = replace(compiled, programs_per_sm=per_sm, min_span=min_span)
                made.work = work_for(shape, seqs, 1 if what == "decode" else length, launch)
                plan_attention(made.work, made.plan)
                times.setdefault(launch, []).append(_time_scene(made, kernel))
    best_of = [min(spans[i] for spans in times.values()) for i in range(len(shapes))]
    print(f"\nsweep {what} {shape.name}: best per shape")
    for i, (seqs, length) in enumerate(shapes):
        winner = min(times, key=lambda launch, i=i: times[launch][i])
        print(f"  {seqs} x {length}: {best_of[i] * 1e6:.1f} us  {_short(winner)}", flush=True)

    def regret(launch: Launch) -> float:
        """Geometric mean of time over the best time, over the shapes."""
        ratios = [t / best for t, best in zip(times[launch], best_of, strict=True)]
        return statistics.geometric_mean(ratios) if max(ratios) < float("inf") else float("inf")

    champion = min(times, key=regret)
    lost = regret(champion) - 1
    spans = ", ".join(
        f"{b}x{n} {t * 1e6:.1f}" for (b, n), t in zip(shapes, times[champion], strict=True)
    )
    group = shape.heads // shape.kv_heads
    key = (what, device_name(CUDA), shape.dim, "bf16", group, VERSION)
    row = replace(champion, evidence=f"us: {spans}; {lost:.1%} over the best per shape")
    return f"    {key!r}: {row!r},"


def _short(launch: Launch) -> str:
    return (
        f"tile {launch.tile} warps {launch.warps} stages {launch.stages} rows {launch.rows} "
        f"per_sm {launch.programs_per_sm} min_span {launch.min_span} "
        f"{launch.evict or 'evict_normal'}"
    )
