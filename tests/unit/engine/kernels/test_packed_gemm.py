"""Packed GEMM: float32 and bfloat16 panels, odd sizes, and rows that ignore their batch."""

from __future__ import annotations

import pytest
import torch

from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.packed_gemm import PackedWeight, pack, packed_gemm, packed_gemm_ref, to_panels


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_out", [1, 31, 32, 33, 200])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 12, 13, 40])
def test_equals_the_reference(lib: CpuLibrary, dtype: torch.dtype, num_out: int, rows: int) -> None:
    torch.manual_seed(rows)
    weight, bias = torch.randn(num_out, 70).to(dtype), torch.randn(num_out)
    x = torch.randn(rows, 70)
    found = lib.packed_gemm(x, pack(weight, bias))
    expected = packed_gemm_ref(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-5)


def test_a_row_is_bit_equal_in_any_batch(lib: CpuLibrary) -> None:
    torch.manual_seed(0)
    weight = pack(torch.randn(96, 128), torch.randn(96))
    x = torch.randn(64, 128)
    whole = lib.packed_gemm(x, weight)
    for rows in (1, 2, 3, 4, 7, 12, 13, 25):
        assert torch.equal(lib.packed_gemm(x[:rows], weight), whole[:rows])


def test_reads_rows_with_a_stride(lib: CpuLibrary) -> None:
    weight = pack(torch.randn(32, 16), None)
    wide = torch.randn(5, 40)
    narrow = wide[:, :16]
    assert torch.equal(
        lib.packed_gemm(narrow, weight), lib.packed_gemm(narrow.contiguous(), weight)
    )


def test_columns_past_the_end_are_zero_and_bf16_halves_the_bytes() -> None:
    weight = torch.ones(33, 8)
    wide, narrow = to_panels(weight), to_panels(weight.bfloat16())
    assert wide.shape == (2, 8, 32)
    assert wide[1, :, 1:].abs().sum() == 0
    assert narrow.numel() * narrow.element_size() * 2 == wide.numel() * wide.element_size()


def test_plain_weights_need_no_library() -> None:
    plain = PackedWeight(num_out=3, num_in=4, bias_N=None, plain_NK=torch.eye(3, 4))
    x = torch.randn(2, 4)
    assert torch.equal(packed_gemm(x, plain), x[:, :3])
