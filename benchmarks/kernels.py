"""Speed of the GPU kernels, replayed from CUDA graphs: `python -m benchmarks.kernels [what …]`.

what: ceilings decode prefill rows sample (default: these), skinny (one-row products beside cuBLAS),
compile and then sweep (launch variants of both attention kernels; prints rows for
engine/kernels/tuning.py). Every
time is the median of replays of a graph that walks through enough separate buffers (as layers do)
to leave the L2 cache behind; bandwidth counts K and V once, arithmetic counts visible pairs only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.kernel_scenes import (
    BLOCK,
    COLD_BYTES,
    CUDA,
    LLAMA_1B,
    LLAMA_8B,
    QWEN3_06B,
    Heads,
    fits,
    one_by_one,
    pairs_flops,
    scene,
    timed,
)
from benchmarks.kernel_sweep import compile_share, compile_variants, sweep
from benchmarks.skinny_sweep import skinny
from engine.kernels.add_norm import add_norm_gpu
from engine.kernels.attention_plan import plan_attention
from engine.kernels.decode_attention import decode_attention
from engine.kernels.gated_activation import gated_activation_gpu
from engine.kernels.gpu import VERSION
from engine.kernels.prefill_attention import prefill_attention
from engine.kernels.rope_cache import HeadLayout, rope_cache_gpu
from engine.kernels.sample_gumbel import make_draw_buffers
from engine.kernels.sample_logits import ADJUSTED, FILTERED, SampleRows
from engine.kernels.sample_step import sample_step

DECODE_GRID = [(b, n) for b in (1, 8, 32, 128, 256, 512) for n in (512, 2048, 8192, 32768)]
PREFILL_GRID = [(4, 1024), (4, 4096), (1, 16384)]
# Same-run figures of the reference page (H200, heads 32/8, D 128, bf16): microseconds, TFLOP/s
FA3_DECODE_US = {
    (1, 512): 11.2, (1, 2048): 13.5, (1, 8192): 19.6, (8, 512): 13.2, (8, 2048): 27.5,
    (8, 8192): 74.3, (32, 512): 25.2, (32, 2048): 74.5, (32, 8192): 262.0, (128, 512): 80.9,
    (128, 2048): 272.0, (128, 8192): 1011.0, (256, 512): 154.0, (256, 2048): 536.0,
    (256, 8192): 2000.0,
}  # fmt: skip
FA3_PAGED_PREFILL = {(4, 1024): 365, (4, 4096): 520, (1, 16384): 584}


def ceilings() -> None:
    big = torch.empty(1 << 30, device=CUDA, dtype=torch.float32)
    out = torch.empty_like(big)
    read = big.nbytes / timed([big.amax])
    copy = 2 * big.nbytes / timed([lambda: out.copy_(big)])
    a, b = (torch.randn(8192, 8192, device=CUDA, dtype=torch.bfloat16) for _ in range(2))
    gemm = 2 * 8192**3 / timed([lambda: a @ b])
    print(
        f"read {read / 1e12:.2f} TB/s, copy {copy / 1e12:.2f} TB/s, GEMM {gemm / 1e12:.0f} TFLOP/s"
    )


def decode() -> None:
    for shape in (LLAMA_8B, QWEN3_06B, LLAMA_1B):
        print(f"\ndecode attention, {shape.name} {shape.heads}/{shape.kv_heads} x {shape.dim}")
        print("  batch context      us   TB/s   FA3 us  FA3/ours   plan us")
        for seqs, context in DECODE_GRID:
            if not fits(shape, seqs, context):
                continue
            made = scene(shape, seqs, 1, context)
            with one_by_one():
                span = timed(made.launches(decode_attention))
            plan_span = timed([lambda made=made: plan_attention(made.work, made.plan)])
            fa3 = FA3_DECODE_US.get((seqs, context)) if shape is LLAMA_8B else None
            beside = f"{fa3:>9.1f}{fa3 / span / 1e6:>10.2f}" if fa3 else f"{'-':>9}{'-':>10}"
            rate = shape.kv_bytes(seqs * context) / span / 1e12
            print(
                f"{seqs:>7}{context:>8}{span * 1e6:>8.1f}{rate:>7.2f}{beside}"
                f"{plan_span * 1e6:>10.1f}"
            )


def prefill() -> None:
    for shape in (LLAMA_8B, QWEN3_06B, LLAMA_1B):
        print(f"\nprefill attention, {shape.name} {shape.heads}/{shape.kv_heads} x {shape.dim}")
        print("   seqs  length       us  TFLOP/s  cuDNN  ours/cuDNN  ours/FA3 paged")
        for seqs, length in PREFILL_GRID:
            made = scene(shape, seqs, length, length)
            span = timed(made.launches(prefill_attention))
            rate = pairs_flops(shape, seqs, length) / span / 1e12
            cudnn = pairs_flops(shape, seqs, length) / cudnn_seconds(shape, seqs, length) / 1e12
            fa3 = FA3_PAGED_PREFILL[seqs, length] if shape is LLAMA_8B else None
            print(
                f"{seqs:>7}{length:>8}{span * 1e6:>9.0f}{rate:>9.0f}{cudnn:>7.0f}"
                f"{rate / cudnn:>12.2f}" + (f"{rate / fa3:>16.2f}" if fa3 else f"{'-':>16}")
            )


def cudnn_seconds(shape: Heads, seqs: int, length: int) -> float:
    def made(heads: int) -> Tensor:
        return torch.randn(seqs, heads, length, shape.dim, device=CUDA, dtype=torch.bfloat16)

    q, k, v = made(shape.heads), made(shape.kv_heads), made(shape.kv_heads)
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return timed(
            [lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)]
        )


def rows() -> None:
    print("\nrow kernels, bf16, E 4096, F 14336, 32/8 heads x 128")
    print("  tokens  kernel            us   TB/s")
    for tokens in (1, 32, 256, 4096):
        for name, moved, launches in _row_ops(tokens):
            span = timed(launches)
            print(f"{tokens:>8}  {name:<12}{span * 1e6:>8.1f}{moved / span / 1e12:>7.2f}")


def _row_ops(tokens: int) -> Iterator[tuple[str, int, list[Callable[[], object]]]]:
    """(name, bytes moved, launches over cold copies)."""

    def copies(width: int) -> list[Tensor]:
        count = min(64, max(2, COLD_BYTES // (tokens * width * 2)))
        return [torch.randn(tokens, width, device=CUDA, dtype=torch.bfloat16) for _ in range(count)]

    weight = torch.ones(4096, device=CUDA, dtype=torch.bfloat16)
    x = torch.randn(tokens, 4096, device=CUDA, dtype=torch.bfloat16)
    norm = [lambda r=r: add_norm_gpu(x, r, weight, 1e-6) for r in copies(4096)]
    yield "add_norm", 4 * tokens * 4096 * 2, norm
    silu = [lambda g=g: gated_activation_gpu(g, "silu") for g in copies(28672)]
    yield "silu_mul", 3 * tokens * 14336 * 2, silu
    cache = [
        torch.zeros(tokens // BLOCK + 1, 8, BLOCK, 128, device=CUDA, dtype=torch.bfloat16)
        for _ in range(2)
    ]
    turns = (torch.rand(tokens, 64, device=CUDA), torch.rand(tokens, 64, device=CUDA))
    slots = torch.arange(tokens, device=CUDA)
    heads = HeadLayout(num_heads=32, num_kv_heads=8, head_dim=128)
    rope = [
        lambda q=q: rope_cache_gpu(q, turns, cache[0], cache[1], slots, heads) for q in copies(6144)
    ]
    yield "rope_cache", 2 * tokens * 6144 * 2, rope


def sample() -> None:
    vocab = 151_936
    print("\nsampler, vocabulary 151,936, bf16 logits\n   rows  what                        us")
    for num_rows in (1, 32, 256, 512):
        logits = torch.randn(num_rows, vocab, device=CUDA).mul_(3).bfloat16()
        buffers = make_draw_buffers(num_rows, vocab, CUDA)
        token = torch.empty(num_rows, dtype=torch.int64, device=CUDA)
        for name, settings in _settings(num_rows, vocab).items():
            plain = name in ("greedy", "temperature")
            span = timed([partial(sample_step, token, logits, settings, buffers, plain)])
            print(f"{num_rows:>7}  {name:<22}{span * 1e6:>8.1f}")


def _settings(num_rows: int, vocab: int) -> dict[str, SampleRows]:
    def filled(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.full((num_rows,), value, dtype=dtype, device=CUDA)

    greedy = SampleRows(
        flags=filled(0, torch.int32),
        table_row=filled(-1, torch.int32),
        temperature=filled(0.0),
        top_k=filled(-1, torch.int32),
        top_p=filled(1.0),
        min_p=filled(0.0),
        repetition=filled(1.1),
        frequency=filled(0.1),
        presence=filled(0.1),
        seeds=torch.arange(num_rows, device=CUDA),
        positions=torch.arange(num_rows, device=CUDA),
        uses=torch.zeros(num_rows, vocab, dtype=torch.int32, device=CUDA),
        allowed=torch.full((num_rows, vocab // 32), -1, dtype=torch.int32, device=CUDA),
        bias_ids=torch.full((num_rows, 8), -1, dtype=torch.int32, device=CUDA),
        bias=torch.zeros(num_rows, 8, device=CUDA),
    )
    warm = replace(greedy, temperature=filled(0.8))
    both = filled(ADJUSTED | FILTERED, torch.int32)
    own_row = torch.arange(num_rows, device=CUDA, dtype=torch.int32)
    return {
        "greedy": greedy,
        "temperature": warm,
        "penalties": replace(warm, flags=filled(ADJUSTED, torch.int32), table_row=own_row),
        "top-k 50": replace(warm, flags=both, top_k=filled(50, torch.int32)),
        "top-p 0.9": replace(warm, flags=both, top_p=filled(0.9)),
        "top-k 50, top-p 0.9": replace(
            warm, flags=both, top_k=filled(50, torch.int32), top_p=filled(0.9)
        ),
    }


def main(arguments: Sequence[str]) -> None:
    if not torch.cuda.is_available():
        sys.exit("benchmarks.kernels needs a CUDA device; this machine has none.")
    if arguments[:1] == ["compile-share"]:
        compile_share(int(arguments[1]), *arguments[2:3])
        return
    if arguments[:1] == ["compile"]:
        compile_variants(*arguments[1:2])
        return
    if arguments[:1] == ["sweep"]:
        sweep(*arguments[1:2])
        return
    parts = {"ceilings": ceilings, "decode": decode, "prefill": prefill, "rows": rows,
             "sample": sample, "skinny": skinny}  # fmt: skip
    wanted = arguments or ["ceilings", "decode", "prefill", "rows", "sample"]
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        sys.exit(f"Unknown part {unknown[0]!r}: choose from compile, sweep, {', '.join(parts)}.")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {VERSION}")
    for name in wanted:
        began = time.perf_counter()
        parts[name]()
        torch.cuda.empty_cache()
        print(f"({name}: {time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
