"""y = x · Wᵀ + b for weights packed once at load.

x [T, K] float32, W [N, K], b [N] float32 or None, y [T, N] float32.
Packed layout (CPU): panels of 32 output columns, [ceil(N/32), K, 32] float32, or for bfloat16
weights [ceil(N/32), ceil(K/2), 32, 2]: the two weights of a pair of k side by side. Sums are
float32. A CPU with AVX512_BF16 rounds x to bfloat16 too and multiplies pairs in one instruction;
elsewhere weights are widened in registers and x keeps its 24 bits, at half the memory traffic of
float32 weights. Every y[t, n] is one chain of fused multiply-adds over k, so it does not depend
on T. Tolerance against float64: 2e-5 for unit-variance inputs as the kernel meets them.
Without a C compiler the weights are kept as float32 [N, K] and torch's GEMM is used. On a GPU x, W,
b and y share one type, W stays [N, K] and cuBLAS computes, for one row skinny_gemm.py.
Bench: python -m benchmarks.kernels packed_gemm
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.gpu import on_gpu
from engine.kernels.skinny_gemm import skinny_gemm

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
    """Arrange a weight for the fastest kernel its device has. Copies, but not on a GPU."""
    num_out, num_in = weight_NK.shape
    if weight_NK.is_cuda:
        return PackedWeight(num_out=num_out, num_in=num_in, bias_N=bias_N, plain_NK=weight_NK)
    bias_N = None if bias_N is None else bias_N.float()
    if library() is None:
        return PackedWeight(
            num_out=num_out, num_in=num_in, bias_N=bias_N, plain_NK=weight_NK.float().contiguous()
        )
    return PackedWeight(num_out=num_out, num_in=num_in, bias_N=bias_N, panels=to_panels(weight_NK))


def to_panels(weight_NK: Tensor) -> Tensor:
    """[N, K] → panels; columns past N and an odd K's partner are 0. float16 widens to float32."""
    num_out, num_in = weight_NK.shape
    if weight_NK.dtype != torch.bfloat16:
        weight_NK = weight_NK.float()
    pairs = weight_NK.dtype == torch.bfloat16
    pad_n, pad_k = -num_out % PANEL, num_in % 2 if pairs else 0
    if pad_n or pad_k:
        weight_NK = F.pad(weight_NK, (0, pad_k, 0, pad_n))
    if pairs:
        return weight_NK.view(-1, PANEL, weight_NK.shape[1] // 2, 2).transpose(1, 2).contiguous()
    return weight_NK.view(-1, PANEL, num_in).transpose(1, 2).contiguous()


def packed_gemm_ref(x_TK: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
    return F.linear(x_TK, weight_NK, bias_N)


def packed_gemm(x_TK: Tensor, weight: PackedWeight, out_TN: Tensor | None = None) -> Tensor:
    """Launcher: compiled C on packed panels, Triton for one row on a GPU, else torch.

    Compiled C fills `out_TN` where it is given; use the tensor that is returned.
    """
    if weight.panels is not None and (lib := library()) is not None:
        return lib.packed_gemm(x_TK, weight, out_TN)
    assert weight.plain_NK is not None
    if x_TK.shape[0] == 1 and on_gpu(x_TK):
        return skinny_gemm(x_TK, weight.plain_NK, weight.bias_N)
    return packed_gemm_ref(x_TK, weight.plain_NK, weight.bias_N)
