"""LoRA kernels in the interpreter: odd sizes, all rank buckets, partial and absent slices."""

from __future__ import annotations

import pytest
import torch

from tests.unit.kernels.lora_cases import Case, check, check_gated, check_norm

BF16, FP16 = torch.bfloat16, torch.float16
MIXED = (0, -1, 2, 1, 0, 0, -1, 2)
CASES = (
    Case(slots=(0,), ranks=((8,),), widths=(64,), num_in=64, bucket=8),
    Case(slots=MIXED, ranks=((8, 1), (5, 0), (0, 8)), widths=(100, 30), num_in=63, bucket=8),
    Case(slots=MIXED * 5, ranks=((16,) * 3, (1, 9, 16), (0, 0, 3)), widths=(130, 33, 33),
         num_in=150, bucket=16),
    Case(slots=(0,) * 17 + (1,) * 33, ranks=((64,), (40,)), widths=(129,), num_in=96, bucket=64),
    Case(slots=(-1, 0, 1), ranks=((256,), (100,)), widths=(70,), num_in=80, bucket=256),
    Case(slots=(0, 1, 0), ranks=((16,), (16,)), widths=(40,), num_in=2100, bucket=16),  # splits
    Case(slots=MIXED, ranks=((8, 8), (4, 0), (2, 8)), widths=(64, 64), num_in=128, bucket=8,
         dtype=BF16),
    Case(slots=MIXED, ranks=((16,), (16,), (3,)), widths=(64,), num_in=96, bucket=16, dtype=FP16),
    Case(slots=(-1, -1), ranks=((8,),), widths=(32,), num_in=32, bucket=8),  # nothing to do
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_shrink_and_expand_equal_float64(case: Case) -> None:
    check(case, torch.device("cpu"))


GATED = (
    Case(slots=(0,), ranks=((8, 8),), widths=(64, 64), num_in=64, bucket=8),
    Case(slots=MIXED, ranks=((8, 1), (0, 5), (0, 0)), widths=(150, 150), num_in=63, bucket=8),
    Case(slots=MIXED * 5, ranks=((16, 9), (1, 16), (0, 0)), widths=(130, 130), num_in=600,
         bucket=16),
    Case(slots=(0,) * 17 + (1,) * 23, ranks=((64, 40), (40, 64)), widths=(96, 96), num_in=33,
         bucket=64),
    Case(slots=(-1, 0, 1), ranks=((256, 3), (100, 256)), widths=(70, 70), num_in=40, bucket=256),
    Case(slots=MIXED, ranks=((8, 8), (4, 0), (2, 8)), widths=(64, 64), num_in=64, bucket=8,
         dtype=BF16),
    Case(slots=(0,) * 70 + (-1,) * 3 + (1,), ranks=((16, 16),) * 2, widths=(96, 96), num_in=64,
         bucket=16, dtype=FP16, tile=64),
    Case(slots=(-1, -1), ranks=((8, 8),), widths=(32, 32), num_in=32, bucket=8),
)  # fmt: skip


@pytest.mark.parametrize("case", GATED, ids=str)
def test_gated_equals_float64(case: Case) -> None:
    check_gated(case, torch.device("cpu"))


NORMED = (
    Case(slots=(0,), ranks=((8,),), widths=(64,), num_in=64, bucket=8),
    Case(slots=MIXED * 3, ranks=((16,), (3,), (0,)), widths=(100,), num_in=63, bucket=16),
    Case(slots=MIXED, ranks=((256,), (9,), (100,)), widths=(40,), num_in=4500, bucket=256),
    Case(slots=MIXED, ranks=((8,), (4,), (2,)), widths=(64,), num_in=96, bucket=8, dtype=BF16),
    Case(slots=(-1, -1), ranks=((8,),), widths=(32,), num_in=32, bucket=8),
)  # fmt: skip


@pytest.mark.parametrize("case", NORMED, ids=str)
def test_norm_equals_float64(case: Case) -> None:
    check_norm(case, torch.device("cpu"))
