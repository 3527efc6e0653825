"""Norm, gated activation and rope + cache write against references and float64."""

from __future__ import annotations

import pytest
import torch

from engine.kernels.add_norm import add_norm_ref
from engine.kernels.attention_plan import AttentionPlan
from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.gated_activation import silu_mul_ref
from engine.kernels.rope_cache import HeadLayout, rope_cache_ref


@pytest.mark.parametrize("width", [1, 15, 16, 17, 63, 64, 1000])
@pytest.mark.parametrize("with_x", [True, False])
def test_add_norm(lib: CpuLibrary, width: int, with_x: bool) -> None:
    torch.manual_seed(width)
    x = torch.randn(5, width) if with_x else None
    residual, weight = torch.randn(5, width), torch.rand(width) + 0.5
    expected_residual = residual.double()
    expected = add_norm_ref(
        None if x is None else x.double(), expected_residual, weight.double(), 1e-6
    )
    found = lib.add_norm(x, residual, weight, 1e-6)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(residual.double(), expected_residual, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("width", [1, 16, 63, 1000])
def test_silu_mul_also_for_large_numbers(lib: CpuLibrary, width: int) -> None:
    torch.manual_seed(width)
    gate_up = torch.randn(3, 2 * width) * 30
    expected = silu_mul_ref(gate_up.double())
    torch.testing.assert_close(lib.silu_mul(gate_up).double(), expected, atol=1e-6, rtol=3e-6)


def plan_for(slots: list[int]) -> AttentionPlan:
    none = torch.zeros(1, dtype=torch.int32)
    return AttentionPlan(
        q_start=none,
        seq_len=none,
        block_table=none[None],
        positions=none.long(),
        slots=torch.tensor(slots),
        num_decodes=0,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("dim", [8, 48, 64])
def test_rope_cache_writes_only_its_slots(
    lib: CpuLibrary, dtype: torch.dtype, qk_norm: bool, dim: int
) -> None:
    torch.manual_seed(dim)
    slots, size = [5, 0, 63, 17], 16
    weights = (torch.rand(dim) + 0.5, torch.rand(dim) + 0.5) if qk_norm else (None, None)
    heads = HeadLayout(
        num_heads=4, num_kv_heads=2, head_dim=dim, q_norm_D=weights[0], k_norm_D=weights[1]
    )
    qkv = torch.randn(len(slots), 8 * dim)
    angles = torch.randn(len(slots), dim // 2)
    cos_sin = (angles.cos(), angles.sin())
    poison = torch.full((4, 2, dim, size), float("nan"), dtype=dtype)
    keys, values = poison.clone().transpose(2, 3), poison.clone().view(4, 2, size, dim)
    ref_qkv, ref_keys, ref_values = qkv.clone(), keys.clone(), values.clone()
    rope_cache_ref(ref_qkv, cos_sin, ref_keys, ref_values, plan_for(slots), heads)
    lib.rope_cache(qkv, cos_sin, keys, values, torch.tensor(slots), heads)
    loose = 1e-2 if dtype == torch.bfloat16 else 2e-6
    torch.testing.assert_close(qkv, ref_qkv, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(keys, ref_keys, atol=loose, rtol=loose, equal_nan=True)
    torch.testing.assert_close(values, ref_values, atol=0, rtol=0, equal_nan=True)
    assert int(keys.isnan().sum()) == keys.numel() - len(slots) * 2 * dim
