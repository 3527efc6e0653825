"""Compiled encoder kernels against their references in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engine.kernels.add_norm import add_layer_norm, add_layer_norm_ref
from engine.kernels.gated_activation import gelu, gelu_mul
from engine.kernels.packed_attention import packed_attention, packed_attention_ref


@pytest.mark.parametrize("window", [0, 3, 20])
@pytest.mark.parametrize(("heads", "dim"), [(2, 16), (3, 32), (2, 48), (1, 64), (2, 10)])
def test_attention_sees_its_own_sequence_only(heads: int, dim: int, window: int):
    torch.manual_seed(0)
    q_start = torch.tensor([0, 1, 3, 20, 53, 118, 126], dtype=torch.int32)
    qkv = torch.randn(126, 3 * heads * dim)
    found = packed_attention(qkv, q_start, heads, window, dim**-0.5)
    expected = packed_attention_ref(qkv.double(), q_start, heads, window, dim**-0.5)
    torch.testing.assert_close(found.double(), expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize("width", [16, 37, 384])
@pytest.mark.parametrize("with_bias", [True, False])
def test_layer_norm_adds_in_place_and_normalises(width: int, with_bias: bool):
    torch.manual_seed(1)
    x, residual, weight = torch.randn(5, width), torch.randn(5, width), torch.randn(width)
    bias = torch.randn(width) if with_bias else None
    total = residual.clone()
    found = add_layer_norm(x, total, weight, bias, 1e-5)
    expected = add_layer_norm_ref(
        x.double(), residual.double(), weight.double(),
        None if bias is None else bias.double(), 1e-5,
    )  # fmt: skip
    torch.testing.assert_close(found.double(), expected, atol=3e-6, rtol=0)
    torch.testing.assert_close(total, residual + x)


@pytest.mark.parametrize("width", [16, 37])
def test_gelu_is_the_exact_one(width: int):
    x = torch.linspace(-6, 6, 4 * width).view(4, width)
    torch.testing.assert_close(gelu(x).double(), F.gelu(x.double()), atol=2e-6, rtol=0)
    both = torch.cat([x, x + 1], dim=1)
    expected = F.gelu(x.double()) * (x.double() + 1)
    torch.testing.assert_close(gelu_mul(both, tanh=False).double(), expected, atol=2e-5, rtol=0)
