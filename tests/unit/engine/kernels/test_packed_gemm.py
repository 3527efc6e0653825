"""Packed GEMM: float32 and bfloat16 panels, odd sizes, and rows that ignore their batch."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.kernels.cpu import build
from engine.kernels.cpu.bindings import BFLOAT16, FLOAT32, SPLIT, CpuLibrary
from engine.kernels.packed_gemm import (
    PackedWeight,
    pack,
    packed_gemm,
    packed_gemm_ref,
    to_panels,
    to_split_panels,
)

BF16 = torch.bfloat16
LIBS = ["lib", "rounding_lib", "widening_lib"]


@pytest.fixture(params=LIBS)
def each_lib(request: pytest.FixtureRequest) -> CpuLibrary:
    found: CpuLibrary = request.getfixturevalue(request.param)
    return found


def as_met(lib: CpuLibrary, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Activations as the kernel multiplies them."""
    if dtype != BF16:
        return x
    if lib.takes_split:
        return x.bfloat16().double() + (x - x.bfloat16().float()).bfloat16().double()
    return x.bfloat16() if lib.rounds_bf16 else x


def assert_equals_the_reference(
    lib: CpuLibrary, dtype: torch.dtype, rows: int, num_in: int, num_out: int
) -> None:
    torch.manual_seed(rows)
    weight, bias = torch.randn(num_out, num_in).to(dtype), torch.randn(num_out)
    x = torch.randn(rows, num_in)
    found = lib.packed_gemm(x, pack(weight, bias))
    x = as_met(lib, x, dtype)
    expected = packed_gemm_ref(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-5)


def split_weight(num_in: int, num_out: int) -> tuple[Tensor, PackedWeight]:
    weight = torch.randn(num_out, num_in)
    panels = to_split_panels(weight)
    return weight, PackedWeight(num_out=num_out, num_in=num_in, bias_N=None, panels=panels)


@pytest.fixture
def splitting_lib(lib: CpuLibrary) -> CpuLibrary:
    if not lib.takes_split:
        pytest.skip("this CPU has no AMX")
    return lib


@pytest.mark.parametrize("dtype", [torch.float32, BF16, torch.float16])
@pytest.mark.parametrize("num_in", [1, 7, 70])
@pytest.mark.parametrize("num_out", [1, 31, 32, 33, 200])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 12, 13, 40])
def test_equals_the_reference(
    lib: CpuLibrary, dtype: torch.dtype, rows: int, num_in: int, num_out: int
) -> None:
    assert_equals_the_reference(lib, dtype, rows, num_in, num_out)


@pytest.mark.parametrize(("rows", "num_in", "num_out"), [(1, 7, 33), (4, 70, 1), (40, 70, 200)])
def test_widened_weights_equal_the_reference(
    widening_lib: CpuLibrary, rows: int, num_in: int, num_out: int
) -> None:
    assert not widening_lib.rounds_bf16
    assert not widening_lib.takes_split
    assert_equals_the_reference(widening_lib, BF16, rows, num_in, num_out)
    assert_equals_the_reference(widening_lib, torch.float32, rows, num_in, num_out)


@pytest.mark.parametrize("num_in", [1, 15, 33, 384])
@pytest.mark.parametrize("num_out", [1, 17, 70])
@pytest.mark.parametrize("rows", [1, 16, 17, 33, 200])
def test_split_weights_lose_no_more_than_the_product_of_second_parts(
    splitting_lib: CpuLibrary, rows: int, num_in: int, num_out: int
) -> None:
    torch.manual_seed(rows)
    weight, packed = split_weight(num_in, num_out)
    x = torch.randn(rows, num_in)
    x[0] *= 1000
    found = splitting_lib.packed_gemm(x, packed).double()
    expected, size = x.double() @ weight.double().T, x.double().abs() @ weight.double().abs().T
    assert ((found - expected).abs() <= size * 2**-15).all()
    if num_in > 1:  # one bfloat16 number each would have been further off
        rounded = x.bfloat16().double() @ weight.bfloat16().double().T
        assert (found - expected).abs().mean() * 20 < (rounded - expected).abs().mean()


@pytest.mark.parametrize("num_in", [1, 7, 70])
@pytest.mark.parametrize("num_out", [1, 33, 200])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 13])
def test_pairs_equal_the_reference_on_rounded_activations(
    rounding_lib: CpuLibrary, rows: int, num_in: int, num_out: int
) -> None:
    assert rounding_lib.rounds_bf16
    assert_equals_the_reference(rounding_lib, BF16, rows, num_in, num_out)
    assert_equals_the_reference(rounding_lib, torch.float32, rows, num_in, num_out)


def assert_rows_ignore_their_batch(lib: CpuLibrary, weight: PackedWeight) -> None:
    x = torch.randn(250, weight.num_in)
    whole = lib.packed_gemm(x, weight)
    for rows in (1, 2, 3, 4, 7, 12, 13, 16, 17, 25, 96, 97):
        assert torch.equal(lib.packed_gemm(x[:rows], weight), whole[:rows])
    assert torch.equal(lib.packed_gemm(x[77:90], weight), whole[77:90])


@pytest.mark.parametrize("dtype", [torch.float32, BF16])
def test_a_row_is_bit_equal_in_any_batch(each_lib: CpuLibrary, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = pack(torch.randn(200, 127).to(dtype), torch.randn(200))
    assert_rows_ignore_their_batch(each_lib, weight)


def test_a_row_by_split_weights_is_bit_equal_in_any_batch(splitting_lib: CpuLibrary) -> None:
    torch.manual_seed(0)
    assert_rows_ignore_their_batch(splitting_lib, split_weight(127, 200)[1])


def test_only_float32_weights_that_may_be_split_are(lib: CpuLibrary) -> None:
    weight = torch.randn(33, 40)
    assert pack(weight, None).kind == FLOAT32
    assert pack(weight, None, may_split=True).kind == (SPLIT if lib.takes_split else FLOAT32)
    assert pack(weight.bfloat16(), None, may_split=True).kind == BFLOAT16


def test_pairs_add_the_odd_weight_first_and_round_each_addition(rounding_lib: CpuLibrary) -> None:
    """As Intel documents vdpbf16ps, so emulation and instruction agree to the bit."""
    torch.manual_seed(1)
    weight, x = torch.randn(40, 64).to(BF16), torch.randn(3, 64)
    wide, expected = weight.double().numpy(), np.zeros((3, 40), np.float32)
    rounded = x.bfloat16().double().numpy()
    for even in range(0, 64, 2):
        for k in (even + 1, even):  # two float32 numbers add without error in float64
            expected = (expected + np.outer(rounded[:, k], wide[:, k])).astype(np.float32)
    found = rounding_lib.packed_gemm(x, pack(weight, None))
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_number_stays_in_its_row(each_lib: CpuLibrary, bad: float) -> None:
    lib = each_lib
    x = torch.ones(5, 9)
    x[2, 8] = bad
    found = lib.packed_gemm(x, pack(torch.ones(33, 9, dtype=BF16), None))
    assert torch.equal(found[[0, 1, 3, 4]], torch.full((4, 33), 9.0))
    torch.testing.assert_close(found[2], torch.full((33,), bad), equal_nan=True)


def test_writes_nothing_past_its_columns_and_reads_any_alignment(lib: CpuLibrary) -> None:
    """Panels and input that begin two bytes off a vector, an odd K, a last panel of one column."""
    torch.manual_seed(2)
    weight, x = torch.randn(33, 9).to(BF16), torch.randn(13 * 9 + 1)[1:].view(13, 9)
    panels = to_panels(weight)
    moved = torch.empty(panels.numel() + 1, dtype=BF16)[1:].view(panels.shape).copy_(panels)
    held = PackedWeight(num_out=33, num_in=9, bias_N=None, panels=moved)
    assert torch.equal(lib.packed_gemm(x, held), lib.packed_gemm(x.clone(), pack(weight, None)))


def test_native_tiles_keep_their_sums_in_registers(tmp_path: Path) -> None:
    """Built for a CPU with AVX512_BF16: the pair instruction, and no sum on the stack beside it."""
    source = Path(build.__file__).with_name("gemm.c")
    target = tmp_path / "gemm.s"
    flags = [flag for flag in build._FLAGS if flag not in ("-march=native", "-shared")]
    wanted = ["-march=cascadelake", "-mavx512bf16", "-S", str(source), "-o", str(target)]
    if (
        shutil.which("gcc") is None
        or subprocess.run(["gcc", *flags, *wanted], check=False).returncode
    ):
        pytest.skip("no gcc that knows AVX512_BF16")
    blocks = re.split(r"^\.L\d+:", target.read_text(), flags=re.MULTILINE)
    inner = [block for block in blocks if "vdpbf16ps" in block]
    assert max(block.count("vdpbf16ps") for block in inner) == 24
    assert [block for block in inner if re.search(r"\(%rsp\).*zmm|zmm.*\(%rsp\)", block)] == []


def test_reads_rows_with_a_stride(lib: CpuLibrary) -> None:
    weight = pack(torch.randn(32, 16), None)
    wide = torch.randn(5, 40)
    narrow = wide[:, :16]
    assert torch.equal(
        lib.packed_gemm(narrow, weight), lib.packed_gemm(narrow.contiguous(), weight)
    )


def test_columns_past_the_end_are_zero_and_bf16_halves_the_bytes() -> None:
    weight = torch.ones(33, 64)
    wide, narrow = to_panels(weight), to_panels(weight.bfloat16())
    assert wide.shape == (2, 64, 32)
    assert wide[1, :, 1:].abs().sum() == 0
    assert to_panels(weight[:, :33].bfloat16()).sum() == 33 * 33  # whole tiles, the rest zero
    assert narrow.numel() * narrow.element_size() * 2 == wide.numel() * wide.element_size()


def test_plain_weights_need_no_library() -> None:
    plain = PackedWeight(num_out=3, num_in=4, bias_N=None, plain_NK=torch.eye(3, 4))
    x = torch.randn(2, 4)
    assert torch.equal(packed_gemm(x, plain), x[:, :3])
