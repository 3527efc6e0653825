"""Norms, activations, rope and the sampler in the interpreter, at odd sizes."""

from __future__ import annotations

import pytest
import torch

from engine.kernels.gated_activation import Activation
from tests.unit.kernels import row_cases

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("tokens", "width"), [(1, 1), (3, 63), (2, 1000)])
@pytest.mark.parametrize("layer", [False, True], ids=["rms", "layer"])
@pytest.mark.parametrize("add", [False, True], ids=["alone", "add"])
def test_norms_equal_float64(
    tokens: int, width: int, dtype: torch.dtype, layer: bool, add: bool
) -> None:
    row_cases.check_norm(tokens, width, dtype, CPU, layer=layer, add=add)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("num_out", "width"), [(1, 1), (33, 600), (16, 512), (7, 2100), (8, 2048)])
def test_one_row_products_equal_float64(num_out: int, width: int, dtype: torch.dtype) -> None:
    row_cases.check_skinny(num_out, width, dtype, CPU)


@pytest.mark.parametrize("width", [64, 1100])
def test_embedding_reads_tokens_the_host_has_not_seen(width: int) -> None:
    row_cases.check_embed(width, torch.float32, CPU)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["silu", "gelu", "gelu_tanh"])
def test_gated_activations_equal_float64(kind: Activation, dtype: torch.dtype) -> None:
    row_cases.check_activation(2, 1100, dtype, CPU, kind)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "qk_norm"])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "block"), [(7, 1, 80, 16), (16, 8, 64, 64), (2, 2, 128, 32)]
)
def test_rope_and_kv_write_equal_float64(
    heads: int, kv_heads: int, dim: int, block: int, dtype: torch.dtype, norm: bool
) -> None:
    row_cases.check_rope(heads, kv_heads, dim, block, dtype, CPU, norm=norm)


@pytest.mark.parametrize("vocab", [33, 1000, 5003])
def test_sampler_equals_its_references(vocab: int) -> None:
    row_cases.check_sampler(9, vocab, CPU)


def test_broken_rows_are_reported_and_alone() -> None:
    row_cases.check_broken_rows(CPU)


def test_logprobs_are_raw_log_softmax() -> None:
    row_cases.check_logprobs(CPU)
