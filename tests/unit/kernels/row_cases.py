"""Norm, activation, rope and sampling checks against float64 references, for any device."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from engine.kernels.add_norm import add_layer_norm_ref, add_norm_gpu, add_norm_ref
from engine.kernels.attention_plan import AttentionPlan
from engine.kernels.embed_tokens import embed_tokens_gpu, embed_tokens_ref
from engine.kernels.gated_activation import (
    Activation,
    gated_activation_gpu,
    gelu_mul_ref,
    silu_mul_ref,
)
from engine.kernels.rope_cache import HeadLayout, rope_cache_gpu, rope_cache_ref
from engine.kernels.sample_filter import sample_filter
from engine.kernels.sample_gumbel import make_draw_buffers, noise_ref
from engine.kernels.sample_logits import ADJUSTED, FILTERED, SampleRows, adjust_logits_ref
from engine.kernels.sample_step import sample_step, token_logprobs
from engine.kernels.skinny_gemm import skinny_gemm, skinny_gemm_ref

# (relative, absolute): one rounding of the result, two where a step between is rounded too
CLOSE = {torch.float32: (2e-6, 2e-6), torch.float16: (2e-3, 2e-3), torch.bfloat16: (1.6e-2, 1.6e-2)}
NAN = float("nan")


def close(out: Tensor, ref: Tensor, dtype: torch.dtype, slack: float = 1.0) -> None:
    rtol, atol = CLOSE[dtype]
    torch.testing.assert_close(
        out.cpu().double(), ref.double(), rtol=rtol * slack, atol=atol * slack, equal_nan=True
    )


def check_norm(
    tokens: int, width: int, dtype: torch.dtype, device: torch.device, *, layer: bool, add: bool
) -> None:
    generator = torch.Generator().manual_seed(width)
    residual, x = (torch.randn(tokens, width, generator=generator).to(dtype) for _ in range(2))
    weight, bias = (torch.randn(width, generator=generator).to(dtype) for _ in range(2))
    ours = residual.clone().to(device)
    out = add_norm_gpu(
        x.to(device) if add else None,
        ours,
        weight.to(device),
        1e-6,
        bias.to(device) if layer else None,
        layer,
    )
    total = residual + x if add else residual
    close(ours, total, dtype)
    total = ours.cpu().double()
    if layer:
        ref = add_layer_norm_ref(None, total, weight.double(), bias.double(), 1e-6)
    else:
        ref = add_norm_ref(None, total, weight.double(), 1e-6)
    close(out, ref, dtype)


def check_skinny(num_out: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(num_out)
    x = torch.randn(1, width, generator=generator).to(dtype)
    weight = (torch.randn(num_out, width, generator=generator) * width**-0.5).to(dtype)
    bias = torch.randn(num_out, generator=generator).to(dtype)
    for b in (None, bias):
        out = skinny_gemm(x.to(device), weight.to(device), None if b is None else b.to(device))
        ref = skinny_gemm_ref(x.double(), weight.double(), None if b is None else b.double())
        close(out, ref, dtype, slack=10.0)


def check_embed(width: int, dtype: torch.dtype, device: torch.device) -> None:
    """Ids known to the host, ids of rows, and a row whose token failed."""
    embed = torch.randn(30, width).to(dtype)
    last = torch.tensor([7, -1, 29, 4])
    ids = torch.tensor([0, 29, -1, -2, -3, -4, 5], dtype=torch.int32)
    out = embed_tokens_gpu(ids.to(device), last.to(device), embed.to(device))
    assert torch.equal(out.cpu(), embed[[0, 29, 7, 0, 29, 4, 5]])
    assert torch.equal(out.cpu(), embed_tokens_ref(ids, last, embed))


def check_activation(
    tokens: int, width: int, dtype: torch.dtype, device: torch.device, kind: Activation
) -> None:
    generator = torch.Generator().manual_seed(width)
    gate_up = torch.randn(tokens, 2 * width, generator=generator).to(dtype)
    wide = gate_up.double()
    ref = silu_mul_ref(wide) if kind == "silu" else gelu_mul_ref(wide, kind == "gelu_tanh")
    close(gated_activation_gpu(gate_up.to(device), kind), ref, dtype)


def check_rope(
    heads: int, kv_heads: int, dim: int, block: int, dtype: torch.dtype, device: torch.device,
    *, norm: bool,
) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(dim)
    tokens, padded = 5, 2
    qkv = torch.randn(tokens + padded, (heads + 2 * kv_heads) * dim, generator=generator).to(dtype)
    angles = torch.rand(tokens + padded, dim // 2, generator=generator) * 100
    slots = torch.randperm(4 * block, generator=generator)[: tokens + padded]
    slots[tokens:] = -1
    q_norm, k_norm = (torch.rand(dim, generator=generator).to(dtype) for _ in range(2))
    cache = torch.full((4, kv_heads, block, dim), NAN, dtype=dtype)
    k_cache, v_cache, ours = (t.clone().to(device) for t in (cache, cache, qkv))
    layout = _layout(heads, kv_heads, dim, q_norm.to(device), k_norm.to(device), norm)
    turns = (angles.cos().to(device), angles.sin().to(device))
    rope_cache_gpu(ours, turns, k_cache, v_cache, slots.to(device), layout)

    wide, k_ref, v_ref = qkv[:tokens].double(), cache.double(), cache.double()
    plan = AttentionPlan(
        q_start=slots,
        seq_len=slots,
        block_table=slots,
        positions=slots,
        slots=slots[:tokens],
        num_decodes=0,
    )
    double = _layout(heads, kv_heads, dim, q_norm.double(), k_norm.double(), norm)
    real = (angles[:tokens].cos().double(), angles[:tokens].sin().double())
    rope_cache_ref(wide, real, k_ref, v_ref, plan, double)
    q_size = heads * dim
    close(ours[:tokens, :q_size], wide[:, :q_size], dtype, slack=3)
    close(k_cache, k_ref, dtype, slack=3)
    assert torch.equal(v_cache.cpu().nan_to_num(9), v_ref.to(dtype).nan_to_num(9))


def _layout(
    heads: int, kv_heads: int, dim: int, q_norm: Tensor, k_norm: Tensor, norm: bool
) -> HeadLayout:
    return HeadLayout(
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=dim,
        q_norm_D=q_norm if norm else None,
        k_norm_D=k_norm if norm else None,
    )


def sample_rows(num_rows: int, vocab: int, tables: int, seed: int) -> SampleRows:
    """Every setting in use; row i has the flags i % 4 and, if adjusted, maybe a table."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(num_rows, generator=generator)

    def whole(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    flags = torch.tensor([(0, ADJUSTED, ADJUSTED | FILTERED)[i % 3] for i in range(num_rows)])
    table_row = torch.where(flags > 0, whole(-1, tables, num_rows), -1)
    filtered = flags == ADJUSTED | FILTERED
    bias_ids = torch.stack([torch.randperm(vocab, generator=generator)[:8] for _ in range(tables)])
    bias_ids[:, 5:] = -1
    use = torch.rand(tables, vocab, generator=generator) < 0.2
    temperature = uniform(0.3, 2.0)
    temperature[::4] = 0.0
    return SampleRows(
        flags=flags.int(),
        table_row=table_row.int(),
        temperature=temperature,
        top_k=torch.where(filtered & (uniform(0, 1) < 0.6), whole(1, 60, num_rows), -1).int(),
        top_p=torch.where(filtered & (uniform(0, 1) < 0.6), uniform(0.05, 0.99), 1.0),
        min_p=torch.where(filtered & (uniform(0, 1) < 0.4), uniform(0.001, 0.3), 0.0),
        repetition=uniform(0.5, 2.0),
        frequency=uniform(-1.0, 1.0),
        presence=uniform(-1.0, 1.0),
        seeds=whole(-(2**62), 2**62, num_rows),
        positions=whole(0, 2**20, num_rows),
        uses=(whole(0, 7, tables, vocab) * use).int(),
        allowed=whole(-(2**31), 2**31, tables, -(-vocab // 32)).int(),
        bias_ids=bias_ids.int(),
        bias=torch.randn(tables, 8, generator=generator) * 5,
    )


def to_device(rows: SampleRows, device: torch.device) -> SampleRows:
    return SampleRows(**{f.name: getattr(rows, f.name).to(device) for f in fields(rows)})


def check_sampler(
    num_rows: int, vocab: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> None:
    """Adjusted logits, kept sets and tokens equal the references the CPU sampler is made of."""
    rows = sample_rows(num_rows, vocab, tables=3, seed=vocab)
    generator = torch.Generator().manual_seed(vocab)
    logits = (torch.randn(num_rows, vocab, generator=generator) * 3).to(dtype)
    buffers = make_draw_buffers(num_rows, vocab, device)
    buffers.adjusted.fill_(NAN)
    token = torch.full((num_rows,), -9, device=device)
    sample_step(token, logits.to(device), to_device(rows, device), buffers)

    exact = adjust_logits_ref(logits.double(), rows)
    adjusted, threshold = buffers.adjusted.cpu(), buffers.threshold.cpu()
    on = rows.flags > 0
    torch.testing.assert_close(adjusted[on].double(), exact[on], rtol=2e-6, atol=2e-6)
    assert adjusted[~on].isnan().all(), "a plain row was copied"
    kept = torch.where(on[:, None], adjusted, exact.float())
    kept = sample_filter(kept.clone(), rows.top_k.long(), rows.top_p, rows.min_p)
    ours = adjusted.masked_fill(adjusted < threshold[:, None], float("-inf"))
    differ = ((ours > float("-inf")) != (kept > float("-inf")))[on].sum(-1)
    assert int(differ.max()) <= 1, f"kept sets differ by {differ.tolist()} tokens"

    noise = noise_ref(rows.seeds.numpy().view(np.uint64), rows.positions.numpy(), vocab)
    drawn = (rows.temperature > 0)[:, None]
    score = kept.double() + torch.where(drawn, torch.from_numpy(noise), 0.0)
    chosen = score.gather(1, token.cpu()[:, None])[:, 0]
    assert bool((score.amax(-1) - chosen < 1e-4).all()), "a token is not the reference's"
    assert int((score.argmax(-1) != token.cpu()).sum()) <= num_rows // 100
    assert int(buffers.arrivals.abs().sum()) == 0


def check_broken_rows(device: torch.device) -> None:
    """A NaN anywhere gives -1, no allowed token -2, and other rows are not touched by it."""
    rows = sample_rows(4, 5000, tables=3, seed=1)
    rows.flags = torch.tensor([0, ADJUSTED | FILTERED, ADJUSTED, 0], dtype=torch.int32)
    rows.table_row = torch.tensor([-1, -1, 0, -1], dtype=torch.int32)
    rows.temperature = torch.tensor([0.0, 1.0, 1.0, 0.0])
    rows.allowed[0] = 0
    logits = torch.randn(4, 5000, generator=torch.Generator().manual_seed(3))
    logits[0, 4999] = NAN
    logits[1, 17] = NAN
    logits[3, 4321] = 99.0
    buffers = make_draw_buffers(4, 5000, device)
    token = torch.full((4,), -9, device=device)
    sample_step(token, logits.to(device), to_device(rows, device), buffers)
    assert token.tolist() == [-1, -1, -2, 4321]


def check_logprobs(device: torch.device) -> None:
    logits = torch.randn(3, 1000, generator=torch.Generator().manual_seed(4))
    token = torch.tensor([5, 999, 0])
    named = torch.tensor([[7, 5], [0, 0], [999, 1]])
    chosen, rank, top, ids, own = token_logprobs(
        logits.to(device), token.to(device), 4, named.to(device)
    )
    exact = logits.double().log_softmax(-1)
    picked = exact.gather(1, token[:, None])
    torch.testing.assert_close(chosen.cpu().double(), picked[:, 0], rtol=1e-5, atol=1e-5)
    assert rank.tolist() == ((exact > picked).sum(-1) + 1).tolist()
    torch.testing.assert_close(top.cpu().double(), exact.topk(4).values, rtol=1e-5, atol=1e-5)
    assert torch.equal(ids.cpu(), exact.topk(4).indices)
    torch.testing.assert_close(own.cpu().double(), exact.gather(1, named), rtol=1e-5, atol=1e-5)
