"""Tries tile, stage, warp and spread variants of both attention kernels on the device.

`python -m benchmarks.kernels compile` fills Triton's cache from many processes and times nothing;
`python -m benchmarks.kernels sweep` checks every variant against float64, times all of them on a
few cells and the best on the whole grid, and prints the best per cell and rows for TUNED. With
SWEEP_OUT in the environment every time goes to that file, one JSON line each.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from triton.runtime.errors import TritonError

from benchmarks.kernel_scenes import (
    BLOCK,
    CUDA,
    LLAMA_1B,
    LLAMA_8B,
    QWEN3_06B,
    QWEN25_05B,
    QWEN25_15B,
    Heads,
    Scene,
    one_by_one,
    scene,
    timed,
    work_for,
)
from engine.kernels.attention_plan import plan_attention
from engine.kernels.decode_attention import decode_attention
from engine.kernels.gpu import VERSION
from engine.kernels.prefill_attention import prefill_attention
from engine.kernels.tuning import Launch, cache_tile, device_name
from tests.unit.kernels.attention_cases import TOLERANCE, Case, attend, build, expected

SWEPT = (LLAMA_8B, QWEN3_06B, LLAMA_1B, QWEN25_15B, QWEN25_05B)
DECODE_GRID = [(b, n) for b in (1, 8, 32, 128, 256) for n in (512, 2048, 8192)]
DECODE_FIRST = [(1, 512), (8, 2048), (32, 2048), (128, 2048)]
PREFILL_GRID = [(4, 1024), (4, 4096), (1, 16384)]
SPREADS = [(per_sm, span) for per_sm in (1, 2, 3, 4, 6, 8) for span in (128, 256, 512)]
PREFILL_SEQS = (1, 4, 5)
KINDS = ("decode", "prefill")
PLAIN = Launch(tile=64, warps=4, stages=3)
FINALISTS = 6
COMPILERS = 24  # processes that fill Triton's cache


def variants(what: str) -> list[Launch]:
    """Compiled forms to try; `programs_per_sm` and `min_span` need no compilation."""
    if what == "decode":
        return [
            Launch(tile=tile, warps=warps, stages=stages, evict=evict)
            for tile, least, most in ((32, 3, 6), (64, 2, 4))
            for stages in range(least, most + 1)
            for warps in (2, 4)
            for evict in ("", "evict_first")
        ]
    return [
        Launch(tile=tile, warps=warps, stages=stages, rows=rows)
        for tile in (64, 128)
        for rows, warps in ((64, 4), (128, 4), (128, 8), (256, 8))
        for stages in (2, 3, 4)
    ]


@dataclass(slots=True)
class Times:
    """Seconds by launch and cell."""

    of: dict[Launch, dict[tuple[int, int], float]] = field(default_factory=dict)

    def put(self, launch: Launch, cell: tuple[int, int], seconds: float) -> None:
        self.of.setdefault(launch, {})[cell] = seconds

    def best(self, cell: tuple[int, int]) -> float:
        return min(times.get(cell, float("inf")) for times in self.of.values())

    def ranked(self, cells: list[tuple[int, int]]) -> list[tuple[float, Launch]]:
        """By the geometric mean of time over the best time, smallest first."""
        found = []
        for launch, times in self.of.items():
            ratios = [times.get(cell, float("inf")) / self.best(cell) for cell in cells]
            if max(ratios) < float("inf"):
                found.append((statistics.geometric_mean(ratios), launch))
        return sorted(found, key=lambda pair: pair[0])


def compile_variants(only: str = "") -> None:
    """All of them, each launched once on a small batch by one of COMPILERS processes."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.kernels", "compile-share"]
    crew = [subprocess.Popen([*command, str(i), only]) for i in range(COMPILERS)]
    for worker in crew:
        worker.wait()
    print(f"compiled in {time.perf_counter() - began:.0f} s", flush=True)


def compile_share(index: int, only: str = "") -> None:
    swept = [heads for heads in SWEPT if only in ("", heads.name)]
    jobs = [
        partial(compile_one, heads, w, v) for heads in swept for w in KINDS for v in variants(w)
    ]
    jobs += [
        partial(compile_plans, heads, seqs)
        for heads in swept
        for seqs in (1, 4, 5, 8, 32, 128, 256)
    ]
    with one_by_one():
        for job in jobs[index::COMPILERS]:
            job()


def compile_one(heads: Heads, what: str, launch: Launch) -> None:
    made = scene(heads, 1, 1 if what == "decode" else 64, 64, launch, layers=1)
    _seconds(made, what, once=True)


def compile_plans(heads: Heads, seqs: int) -> None:
    """The plan kernel knows the number of sequences and how far they may be cut."""
    for per_sm, span in SPREADS:
        scene(heads, seqs, 1, 64, replace(PLAIN, programs_per_sm=per_sm, min_span=span), layers=1)
    for rows in (64, 128, 256) if seqs in PREFILL_SEQS else ():
        scene(heads, seqs, 64, 64, replace(PLAIN, rows=rows), layers=1)


def sweep(only: str = "") -> None:
    """`only`: the name of one of SWEPT."""
    rows = []
    for heads in SWEPT:
        if only and heads.name != only:
            continue
        for what in KINDS:
            began = time.perf_counter()
            with one_by_one():
                rows.append(sweep_heads(what, heads))
            print(f"({what} {heads.name}: {time.perf_counter() - began:.0f} s)", flush=True)
            torch.cuda.empty_cache()
    print("\nfor TUNED in engine/kernels/tuning.py:")
    print("\n".join(rows))


def sweep_heads(what: str, heads: Heads) -> str:
    print(f"\nsweep {what} {heads.name}, heads {heads.heads}/{heads.kv_heads} x {heads.dim}")
    if not (sound := list(right(what, heads))):
        return f"    # {what} {heads.name}: no variant is right"
    times, cells = Times(), DECODE_GRID
    if what == "decode":
        first = [replace(v, programs_per_sm=n) for v in sound for n in (1, 2)]
        for cell in DECODE_FIRST:
            time_cell(times, what, heads, cell, first)
        ranked = [launch for _, launch in times.ranked(DECODE_FIRST)]
        forms = list(dict.fromkeys(replace(v, programs_per_sm=2) for v in ranked))[:FINALISTS]
        for form in forms:
            print(f"  to the grid: {_short(form)}", flush=True)
        launches = [
            replace(form, programs_per_sm=n, min_span=span) for form in forms for n, span in SPREADS
        ]
    else:
        launches, cells = sound, PREFILL_GRID
    for cell in cells:
        time_cell(times, what, heads, cell, launches)
    for cell in cells:
        launch = min(launches, key=lambda v: times.of[v].get(cell, float("inf")))
        print(f"  {cell[0]:>4} x {cell[1]:<6}{times.best(cell) * 1e6:>9.1f} us  {_short(launch)}")
    return tuned_row(what, heads, times, cells)


def time_cell(
    times: Times, what: str, heads: Heads, cell: tuple[int, int], launches: list[Launch]
) -> None:
    seqs, length = cell
    q_len = 1 if what == "decode" else length
    made = scene(heads, seqs, q_len, length)
    known: dict[tuple[object, ...], float] = {}
    for launch in launches:
        made.work = work_for(heads, seqs, q_len, launch)
        plan_attention(made.work, made.plan)
        form = replace(launch, programs_per_sm=0, min_span=0)
        items = made.work.decode_items[: int(made.work.counts[0])].tolist()
        key = (form, made.work.decode_items.shape[0], str(items))
        if key not in known:
            known[key] = _seconds(made, what)
        times.put(launch, cell, known[key])
        record(what, heads, cell, launch, known[key])


def right(what: str, heads: Heads) -> Iterator[Launch]:
    """The variants that fit the device and agree with float64 on a ragged batch."""
    many = what == "prefill"
    case = Case(
        q_lens=(1, 70, 200, 64, 130) if many else (1,) * 5,
        kv_lens=(1, 700, 200, 64, 960) if many else (1, 63, 64, 700, 5000),
        heads=heads.heads, kv_heads=heads.kv_heads, dim=heads.dim, block=BLOCK,
        dtype=torch.bfloat16,
    )  # fmt: skip
    batch = build(case, CUDA)
    real = sum(case.q_lens)
    want = expected(case, batch)[:real]
    for launch in variants(what):
        if cache_tile(BLOCK, launch.tile) != launch.tile:
            continue
        batch.work = work_for(heads, len(case.q_lens), max(case.q_lens), launch, case.num_tokens)
        try:
            out: Tensor = attend(case, batch)[:real]
        except (TritonError, RuntimeError) as error:
            print(f"  left out, {type(error).__name__}: {_short(launch)}")
            continue
        off = (out.cpu().double() - want).abs().max().item()
        if off <= TOLERANCE[case.dtype]:  # false for NaN too
            yield launch
        else:
            print(f"  WRONG by {off}: {_short(launch)}", flush=True)


def _seconds(made: Scene, what: str, *, once: bool = False) -> float:
    kernel: Callable[..., None] = decode_attention if what == "decode" else prefill_attention
    try:
        launches = made.launches(kernel)
        if once:
            launches[0]()
            return 0.0
        return timed(launches, replays=3)
    except (TritonError, RuntimeError):  # too much shared memory, or too many registers
        return float("inf")


def tuned_row(what: str, heads: Heads, times: Times, cells: list[tuple[int, int]]) -> str:
    regret, champion = times.ranked(cells)[0]
    spans = ", ".join(f"{b}x{n} {times.of[champion][b, n] * 1e6:.1f}" for b, n in cells)
    key = (what, device_name(CUDA), heads.dim, "bf16", VERSION)
    row = replace(champion, evidence=f"us: {spans}; {regret - 1:.1%} over the best per cell")
    return f"    {key!r}: {row!r},"


def record(what: str, heads: Heads, cell: tuple[int, int], launch: Launch, seconds: float) -> None:
    if place := os.environ.get("SWEEP_OUT"):
        with open(place, "a") as file:
            fields = [what, heads.name, *cell, launch.tile, launch.warps, launch.stages]
            fields += [launch.rows, launch.programs_per_sm, launch.min_span, launch.evict]
            file.write(json.dumps([*fields, round(seconds * 1e6, 2)]) + "\n")


def _short(launch: Launch) -> str:
    return (
        f"tile {launch.tile} warps {launch.warps} stages {launch.stages} rows {launch.rows} "
        f"per_sm {launch.programs_per_sm} min_span {launch.min_span} "
        f"{launch.evict or 'evict_normal'}"
    )
