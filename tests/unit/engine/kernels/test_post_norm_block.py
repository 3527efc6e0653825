"""What follows attention, in one call: as its parts, whatever else is in the batch."""

from __future__ import annotations

import pytest
import torch

from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.packed_gemm import pack
from engine.kernels.post_norm_block import post_norm_block_ref


@pytest.mark.parametrize("tokens", [1, 5, 97, 250])
@pytest.mark.parametrize(("width", "wide"), [(32, 64), (37, 70)])
@pytest.mark.parametrize("split", [False, True])
def test_one_call_equals_its_parts(
    lib: CpuLibrary, tokens: int, width: int, wide: int, split: bool
) -> None:
    torch.manual_seed(2)
    o, up, down = torch.randn(width, width), torch.randn(wide, width), torch.randn(width, wide)
    weights = (
        pack(o, torch.randn(width), may_split=split),
        pack(up, torch.randn(wide), may_split=split),
        pack(down, torch.randn(width), may_split=split),
    )
    norms = ((torch.randn(width), torch.randn(width), 1e-5), (torch.randn(width), None, 1e-5))
    mixed, hidden = torch.randn(tokens, width), torch.randn(tokens, width)
    expected, alone = hidden.clone(), hidden[:1].clone()
    post_norm_block_ref(mixed, expected, weights, norms, "gelu")
    lib.post_norm_block(mixed[:1], alone, weights, norms)
    lib.post_norm_block(mixed, hidden, weights, norms)
    torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(alone, hidden[:1])
