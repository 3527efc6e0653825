"""Compile every kernel ahead of time and print what each takes: `… compile_report [wide|all]`.

Without a word: each kernel in bf16 on sm_90, sm_80 and sm_100, attention at the tuned head sizes
and in fp32. `wide`: on sm_90 each dtype, padded head size and rank bucket beside. Ends with status
1 if a kernel breaks its bounds. Run as a process of its own, without TRITON_INTERPRET:
python -m tests.unit.kernels.compile_report
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from engine.kernels.add_norm import add_norm_gpu
from engine.kernels.attention_plan import AttentionPlan, make_work, plan_attention
from engine.kernels.decode_attention import decode_attention
from engine.kernels.embed_tokens import embed_tokens_gpu
from engine.kernels.gated_activation import gated_activation_gpu
from engine.kernels.lora_expand import lora_expand, output_blocks
from engine.kernels.lora_gated import lora_gated
from engine.kernels.lora_norm import lora_norm
from engine.kernels.lora_plan import TILE, prompt_tile
from engine.kernels.lora_plan import make_work as make_lora_work
from engine.kernels.lora_shrink import lora_shrink
from engine.kernels.prefill_attention import prefill_attention
from engine.kernels.rope_cache import HeadLayout, rope_cache_gpu
from engine.kernels.sample_gumbel import make_draw_buffers
from engine.kernels.sample_step import sample_step
from engine.kernels.skinny_gemm import skinny_gemm
from engine.kernels.tuning import TUNED, Launch
from tests.unit.kernels.ahead_of_time import SHARED_LIMIT, Usage, compile_for
from tests.unit.kernels.row_cases import sample_rows

CPU = torch.device("cpu")
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
HEADS, KV_HEADS, BLOCK, SEQS, TOKENS = 32, 8, 64, 256, 512
TUNED_LABELS = ("bfloat16 64", "bfloat16 128", "tuned 64", "tuned 128")
MOST_SPILLED = 256  # bytes per thread, outside the tuned shapes


def attention(
    dim: int, dtype: torch.dtype, options: bool = False, tile: int = 0, tuned: bool = False
) -> None:
    ints = partial(torch.zeros, dtype=torch.int32)
    plan = AttentionPlan(
        q_start=ints(SEQS + 1),
        seq_len=ints(SEQS),
        block_table=ints(SEQS, 64),
        positions=ints(0),
        slots=ints(0),
        num_decodes=0,
    )
    work = make_work(
        num_seqs=SEQS,
        num_tokens=TOKENS,
        num_heads=HEADS,
        num_kv_heads=KV_HEADS,
        head_dim=dim,
        dtype=dtype,
        device=CPU,
        decode=tuned_row("decode", dim) if tuned else None,
        prefill=tuned_row("prefill", dim) if tuned else None,
    )
    plan_attention(work, plan)
    if tile:
        work.decode_launch = replace(work.decode_launch, tile=tile)
        work.prefill_launch = replace(work.prefill_launch, tile=tile)
    scores: dict[str, Any] = {}
    if options:
        scores = {"window": 1024, "soft_cap": 30.0, "slopes_H": torch.ones(HEADS)}
    q_THD = torch.zeros(TOKENS, HEADS + 2 * KV_HEADS, dim, dtype=dtype)[:, :HEADS]
    cache = torch.zeros(4, KV_HEADS, BLOCK, dim, dtype=dtype)
    out_THD = torch.zeros(TOKENS, HEADS, dim, dtype=dtype)
    for kernel in (decode_attention, prefill_attention):
        kernel(out_THD, q_THD, cache, cache, plan.block_table, work, dim**-0.5, **scores)


def tuned_row(kernel: str, dim: int) -> Launch:
    """Of any device and Triton version."""
    return next(row for key, row in TUNED.items() if key[0] == kernel and key[2] == dim)


def rows(dtype: torch.dtype) -> None:
    x_TE = torch.zeros(4, 4096, dtype=dtype)
    add_norm_gpu(x_TE, x_TE.clone(), x_TE[0], 1e-6)
    add_norm_gpu(x_TE, x_TE.clone(), x_TE[0], 1e-6, x_TE[0], layer_norm=True)
    for num_out, width in ((6144, 4096), (4096, 1024), (33, 100)):
        skinny_gemm(
            torch.zeros(1, width, dtype=dtype), torch.zeros(num_out, width, dtype=dtype), None
        )
    ids, last = torch.zeros(4, dtype=torch.int32), torch.zeros(5, dtype=torch.int64)
    embed_tokens_gpu(ids, last, x_TE)
    for kind in ("silu", "gelu", "gelu_tanh"):
        gated_activation_gpu(torch.zeros(4, 8192, dtype=dtype), kind)
    for dim in (64, 80, 96, 128, 256):
        cache = torch.zeros(4, KV_HEADS, BLOCK, dim, dtype=dtype)
        layout = HeadLayout(
            num_heads=HEADS,
            num_kv_heads=KV_HEADS,
            head_dim=dim,
            q_norm_D=x_TE[0, :dim],
            k_norm_D=x_TE[0, :dim],
        )
        turns = (torch.zeros(4, dim // 2), torch.zeros(4, dim // 2))
        qkv = torch.zeros(4, (HEADS + 2 * KV_HEADS) * dim, dtype=dtype)
        rope_cache_gpu(qkv, turns, cache, cache, torch.zeros(4, dtype=torch.int64), layout)


def sampling(dtype: torch.dtype) -> None:
    vocab = 151936
    settings = sample_rows(4, vocab, tables=3, seed=0)
    buffers = make_draw_buffers(4, vocab, CPU)
    logits_SV = torch.zeros(4, vocab, dtype=dtype)
    sample_step(torch.zeros(4, dtype=torch.int64), logits_SV, settings, buffers)


def lora(dtype: torch.dtype, bucket: int) -> None:
    """The merged linears of an 8B model for one rank bucket, decoding and in a prompt."""
    qkv, ffn, slots, hidden = (4096, 1024, 1024), 14336, 2, 4096
    x_TK = torch.zeros(TOKENS, hidden, dtype=dtype)
    qkv_TN = torch.zeros(TOKENS, sum(qkv), dtype=dtype)
    gate_up_TF = torch.zeros(TOKENS, 2 * ffn, dtype=dtype)
    ranks = torch.zeros(slots, 5, dtype=torch.int32)
    a_ANK = torch.zeros(slots, 3 * bucket, hidden, dtype=dtype)
    wide, gate = (torch.zeros(slots, bucket, n, dtype=dtype) for n in (sum(qkv), 2 * ffn))
    for tile in sorted({TILE, prompt_tile(dtype)}):
        work = make_lora_work(TOKENS, slots, CPU, tile)
        h = lora_shrink(x_TK, a_ANK, ranks[:, :3], work)
        lora_expand(qkv_TN, h, wide, ranks[:, :3], output_blocks(qkv, CPU), work)
        lora_norm(x_TK, x_TK, x_TK, x_TK[0], 1e-6, h, wide, ranks[:, :1], work)
        h = lora_shrink(x_TK, a_ANK[:, : 2 * bucket], ranks[:, 3:], work)
        lora_gated(gate_up_TF[:, :ffn], gate_up_TF, h, gate, ranks[:, 3:], work)


def launches(extent: str) -> Iterator[tuple[int, str, Callable[[], None]]]:
    """(capability, label, launch): what the report covers, in its order."""
    everything, wide = extent == "all", extent == "wide"
    for capability in (90, 80, 100):
        for dtype in (BF16, FP16, FP32):
            for dim in (64, 80, 96, 128, 256):
                name = f"{str(dtype)[6:]} {dim}"
                if everything or _covered(capability, dtype, dim, wide):
                    yield capability, name, partial(attention, dim, dtype)
        for dim in (64, 128) if capability == 90 else ():
            yield capability, f"tuned {dim}", partial(attention, dim, BF16, tuned=True)
        if capability == 90 or everything:
            yield capability, "bfloat16 64 options", partial(attention, 64, BF16, options=True)
        if everything:
            yield capability, "bfloat16 128 tile 128", partial(attention, 128, BF16, tile=128)
        for dtype in (BF16, FP16, FP32) if everything else (BF16,):
            yield capability, f"{str(dtype)[6:]} rows", partial(rows, dtype)
            yield capability, f"{str(dtype)[6:]} sampling", partial(sampling, dtype)
            for bucket in (8, 16, 64, 256) if everything or (wide and capability == 90) else (16,):
                yield capability, f"{str(dtype)[6:]} lora {bucket}", partial(lora, dtype, bucket)


def _covered(capability: int, dtype: torch.dtype, dim: int, wide: bool) -> bool:
    if capability == 90 and wide and dtype == BF16:
        return dim != 96  # padded to 128 as 80 is
    if capability == 90 and wide and dim == 256:
        return dtype == FP32
    if capability == 90 and dim == 128:
        return wide or dtype != FP16  # the same code as bf16
    return dtype == BF16 and dim == (64 if capability == 90 else 128)


def complaint(use: Usage, label: str) -> str | None:
    """What is wrong with one kernel's resources, if anything."""
    if use.shared > SHARED_LIMIT[use.capability]:
        return f"needs {use.shared} bytes of shared memory, {SHARED_LIMIT[use.capability]} exist"
    if use.programs_per_sm < 1:
        return "does not fit a multiprocessor"
    tuned = use.capability == 90 and label in TUNED_LABELS
    if use.spilled > (0 if tuned else MOST_SPILLED):
        return f"spills {use.spilled} bytes per thread"
    if tuned and use.kernel == "decode_attention_kernel":
        dim = int(label.split()[1])
        if use.shared < 2 * (2 * 64 * dim * 2):
            return f"holds {use.shared} bytes: fewer than two K and V tiles are in flight"
        if use.programs_per_sm < 2:
            return "runs alone on a multiprocessor"
    return None


HEADER = "sm  kernel                    for                    regs spilled  shared warps per-sm\n"


def main(extent: str) -> int:
    bad = 0
    sys.stdout.write(HEADER)
    for capability, label, launch in launches(extent):
        for use in compile_for(capability, launch):
            wrong = complaint(use, label)
            bad += wrong is not None
            sys.stdout.write(line(use, label) + (f"  BROKEN: {wrong}\n" if wrong else "\n"))
            sys.stdout.flush()
    return 1 if bad else 0


def line(use: Usage, label: str) -> str:
    return (
        f"{use.capability:<4}{use.kernel:<26}{label:<22}{use.registers:>5}{use.spilled:>8}"
        f"{use.shared:>8}{use.warps:>6}{use.programs_per_sm:>7}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
