"""Paged attention kernels in the interpreter. At most ~500 (program × tile) turns a case."""

from __future__ import annotations

import pytest
import torch

from tests.unit.kernels.apart import at_volume
from tests.unit.kernels.attention_cases import Case, check, check_items

CPU = torch.device("cpu")
BF16, FP16 = torch.bfloat16, torch.float16
DECODE = (
    Case(q_lens=(1, 1, 1, 1, 0), kv_lens=(1, 63, 64, 65, 0), block=64),
    Case(q_lens=(1, 1), kv_lens=(700, 31), heads=8),  # several spans: the last to arrive combines
    at_volume(Case(q_lens=(1,), kv_lens=(300,), heads=2, kv_heads=2)),
    Case(q_lens=(1, 1), kv_lens=(97, 16), heads=16, kv_heads=1, block=16),
    Case(q_lens=(1, 1), kv_lens=(130, 40), heads=7, kv_heads=1, dim=80),
    at_volume(Case(q_lens=(1,), kv_lens=(70,), dim=256, heads=6)),
    Case(q_lens=(1, 1), kv_lens=(300, 65), dtype=BF16, dim=128, block=64),
    at_volume(Case(q_lens=(1, 1), kv_lens=(70, 33), dtype=FP16, dim=96)),
    Case(q_lens=(4, 1, 7), kv_lens=(9, 300, 65), max_decode_q=8),  # drafts to verify
    Case(q_lens=(1, 4), kv_lens=(600, 270), window=40, max_decode_q=4),  # spans out of sight
    Case(q_lens=(1, 3), kv_lens=(300, 65), soft_cap=2.0, alibi=True, max_decode_q=3),
    Case(q_lens=(1,), kv_lens=(300,), causal=False),
    Case(q_lens=(1, 1, 2), kv_lens=(1, 300, 129), block=64, tile=128, max_decode_q=2, window=150),
)
PREFILL = (
    Case(q_lens=(64, 65, 0, 63), kv_lens=(64, 65, 0, 63), block=64),
    Case(q_lens=(2, 40), kv_lens=(33, 170), heads=8),  # chunks after a cached prefix
    at_volume(Case(q_lens=(30,), kv_lens=(95,), heads=16, kv_heads=1, block=16)),
    Case(q_lens=(41,), kv_lens=(50,), heads=7, kv_heads=1, dim=80),
    at_volume(Case(q_lens=(20,), kv_lens=(40,), dim=256, heads=6)),
    Case(q_lens=(70,), kv_lens=(135,), dtype=BF16, dim=128, block=64),
    at_volume(Case(q_lens=(33,), kv_lens=(66,), dtype=FP16, dim=96)),
    Case(q_lens=(100,), kv_lens=(164,), window=33),
    Case(q_lens=(50,), kv_lens=(90,), soft_cap=2.0, alibi=True),
    Case(q_lens=(65, 9), kv_lens=(65, 9), causal=False),
    Case(q_lens=(90, 3), kv_lens=(150, 65), block=64, tile=128),  # two blocks at a time
    Case(q_lens=(70,), kv_lens=(100,), block=64, tile=16),  # a quarter of a block
    Case(q_lens=(1, 1, 70, 5), kv_lens=(40, 300, 70, 64), heads=4),  # decodes and chunks in one
)


@pytest.mark.parametrize("case", DECODE, ids=str)
def test_decode_equals_float64(case: Case) -> None:
    check(case, CPU)


@pytest.mark.parametrize("case", PREFILL, ids=str)
def test_prefill_equals_float64(case: Case) -> None:
    check(case, CPU)


@pytest.mark.parametrize("case", [*DECODE[:3], DECODE[8], *PREFILL[:2], PREFILL[-1]], ids=str)
def test_work_items_are_those_of_the_reference(case: Case) -> None:
    check_items(case, CPU)
