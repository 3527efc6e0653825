"""y = x · Wᵀ + b for weights packed once at load.

x [T, K] float32, W [N, K], b [N] float32 or None, y [T, N] float32.
Packed layout (CPU): panels of 32 output columns, [ceil(N/32), K, 32] float32, or for bfloat16
weights [ceil(N/32), K, 16] pairs of columns (j in the low half, j + 16 in the high half), widened
to float32 in registers: half the memory traffic of float32 weights and the same float32 sums.
Every y[t, n] is one chain of fused multiply-adds over k, so it does not depend on T.
Without a C compiler the weights are kept as float32 [N, K] and torch's GEMM is used.
Bench: python -m benchmarks.kernels packed_gemm
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.cpu import library

PANEL = 32


@dataclass(slots=True, kw_only=True)
class PackedWeight:
    """One matrix ready for `packed_gemm`. `panels` is None where torch computes on `plain`."""

    num_out: int
    num_in: int
    bias_N: Tensor | None
    plain_NK: Tensor | None = None
    panels: Tensor | None = None

    @property
    def nbytes(self) -> int:
        held = (self.plain_NK, self.panels, self.bias_N)
        return sum(t.numel() * t.element_size() for t in held if t is not None)


def pack(weight_NK: Tensor, bias_N: Tensor | None) -> PackedWeight:
    """Arrange a weight for the fastest kernel this machine has. Copies."""
    num_out, num_in = weight_NK.shape
    bias_N = None if bias_N is None else bias_N.float()
    if library() is None:
        return PackedWeight(
            num_out=num_out, num_in=num_in, bias_N=bias_N, plain_NK=weight_NK.float().contiguous()
        )
    return PackedWeight(num_out=num_out, num_in=num_in, bias_N=bias_N, panels=to_panels(weight_NK))


def to_panels(weight_NK: Tensor) -> Tensor:
    """[N, K] → panels; columns past N are zero. float16 widens to float32."""
    num_out, num_in = weight_NK.shape
    if weight_NK.dtype != torch.bfloat16:
        weight_NK = weight_NK.float()
    pad = -num_out % PANEL
    if pad:
        weight_NK = F.pad(weight_NK, (0, 0, 0, pad))
    if weight_NK.dtype == torch.bfloat16:
        halves = weight_NK.view(-1, 2, PANEL // 2, num_in)
        return halves.permute(0, 3, 2, 1).contiguous()
    return weight_NK.view(-1, PANEL, num_in).transpose(1, 2).contiguous()


def packed_gemm_ref(x_TK: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
    return F.linear(x_TK, weight_NK, bias_N)


def packed_gemm(x_TK: Tensor, weight: PackedWeight) -> Tensor:
    """Launcher: compiled C on packed panels, else the reference."""
    if weight.panels is not None and (lib := library()) is not None:
        return lib.packed_gemm(x_TK, weight)
    assert weight.plain_NK is not None
    return packed_gemm_ref(x_TK, weight.plain_NK, weight.bias_N)
