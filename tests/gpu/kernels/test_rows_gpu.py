"""Norms, activations, rope and the sampler on the device, at real and odd sizes."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from engine.kernels.gated_activation import Activation
from engine.kernels.sample_gumbel import make_draw_buffers
from engine.kernels.sample_logits import SampleRows
from engine.kernels.sample_step import sample_step
from tests.unit.kernels import row_cases

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")
NORM_SIZES = [(1, 1), (3, 63), (65, 1000), (256, 4096), (5, 16384)]
DTYPES = [torch.bfloat16, torch.float16, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("tokens", "width"), NORM_SIZES)
@pytest.mark.parametrize("layer", [False, True], ids=["rms", "layer"])
@pytest.mark.parametrize("add", [False, True], ids=["alone", "add"])
def test_norms_equal_float64(
    tokens: int, width: int, dtype: torch.dtype, layer: bool, add: bool
) -> None:
    row_cases.check_norm(tokens, width, dtype, CUDA, layer=layer, add=add)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("num_out", "width"), [(1, 1), (33, 1000), (1024, 3072), (6144, 4096)])
def test_one_row_products_equal_float64(num_out: int, width: int, dtype: torch.dtype) -> None:
    row_cases.check_skinny(num_out, width, dtype, CUDA)


@pytest.mark.parametrize("width", [64, 1000, 4096])
def test_embedding_reads_tokens_the_host_has_not_seen(width: int) -> None:
    row_cases.check_embed(width, torch.bfloat16, CUDA)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["silu", "gelu", "gelu_tanh"])
@pytest.mark.parametrize(("tokens", "width"), [(1, 1), (3, 1100), (70, 14336)])
def test_gated_activations_equal_float64(
    tokens: int, width: int, kind: Activation, dtype: torch.dtype
) -> None:
    row_cases.check_activation(tokens, width, dtype, CUDA, kind)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "qk_norm"])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "block"),
    [(7, 1, 80, 16), (16, 8, 64, 64), (32, 8, 128, 64), (8, 4, 256, 32), (3, 3, 96, 16)],
)
def test_rope_and_kv_write_equal_float64(
    heads: int, kv_heads: int, dim: int, block: int, dtype: torch.dtype, norm: bool
) -> None:
    row_cases.check_rope(heads, kv_heads, dim, block, dtype, CUDA, norm=norm)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("num_rows", "vocab"), [(9, 33), (40, 5003), (64, 151936)])
def test_sampler_equals_its_references(num_rows: int, vocab: int, dtype: torch.dtype) -> None:
    row_cases.check_sampler(num_rows, vocab, CUDA, dtype)


def test_broken_rows_are_reported_and_alone() -> None:
    row_cases.check_broken_rows(CUDA)


def test_logprobs_are_raw_log_softmax() -> None:
    row_cases.check_logprobs(CUDA)


def test_draws_follow_the_softmax() -> None:
    """A chi-square of 40,000 draws over 8 tokens, one seed each; limit at p = 1e-6 (7 degrees)."""
    num_rows = 40_000
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, 1.5, -2.0, 0.1])
    rows = row_cases.sample_rows(num_rows, 8, tables=1, seed=5)
    rows = SampleRows(**{f.name: getattr(rows, f.name).to(CUDA) for f in fields(rows)})
    rows.flags.zero_()
    rows.temperature.fill_(1.0)
    rows.seeds = torch.arange(num_rows, device=CUDA)
    token = torch.empty(num_rows, dtype=torch.int64, device=CUDA)
    buffers = make_draw_buffers(num_rows, 8, CUDA)
    sample_step(token, logits.to(CUDA).expand(num_rows, 8).contiguous(), rows, buffers, plain=True)
    seen = torch.bincount(token.cpu(), minlength=8).double()
    wanted = logits.double().softmax(-1) * num_rows
    assert float(((seen - wanted) ** 2 / wanted).sum()) < 42.0


def test_a_graph_samples_new_settings() -> None:
    """Captured once, replayed after logits, seeds and settings changed on the device."""
    vocab = 5003
    first = row_cases.to_device(row_cases.sample_rows(9, vocab, tables=3, seed=1), CUDA)
    then = row_cases.to_device(row_cases.sample_rows(9, vocab, tables=3, seed=2), CUDA)
    logits = torch.randn(9, vocab, device=CUDA)
    buffers, token = make_draw_buffers(9, vocab, CUDA), torch.empty(9, dtype=torch.int64).to(CUDA)
    sample_step(token, logits, first, buffers)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sample_step(token, logits, first, buffers)
    for field in fields(first):
        getattr(first, field.name).copy_(getattr(then, field.name))
    logits.copy_(torch.randn(9, vocab, device=CUDA))
    graph.replay()
    again = torch.empty_like(token)
    sample_step(again, logits, then, make_draw_buffers(9, vocab, CUDA))
    assert torch.equal(token, again)
