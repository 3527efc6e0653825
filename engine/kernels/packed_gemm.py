"""y = x · Wᵀ + b for weights packed once at load.

x [T, K] float32, W [N, K], b [N] float32 or None, y [T, N] float32.
Packed layouts (CPU), panels of 32 output columns:
- float32: [ceil(N/32), K, 32];
- bfloat16: [ceil(N/32), 16·ceil(K/32), 32, 2], the two weights of a pair of k side by side;
- split: [ceil(N/32), ceil(K/32), 2, 16, 32, 2] bfloat16: float32 weights as two parts, for AMX.
Sums are float32, each y[t, n] in one order over k, so it does not depend on T.
With AMX, bfloat16 and split weights meet x as two bfloat16 parts, 16 of its 24 bits; error against
float64 below 2⁻¹⁵ of Σ |x·w| for split ones. With AVX512_BF16 alone x is rounded to bfloat16 and
multiplied by pairs; elsewhere bfloat16 weights are widened in registers and x keeps its 24 bits, at
half the memory traffic of float32 weights. Tolerance against float64 but for split weights: 2e-5
for unit-variance inputs as the kernel meets them.
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
from engine.kernels.cpu.bindings import BFLOAT16, FLOAT32, SPLIT, TILE_K
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
    def kind(self) -> int:
        """Of the panels, as the C sources name it."""
        assert self.panels is not None
        if self.panels.dtype == torch.float32:
            return FLOAT32
        return SPLIT if self.panels.ndim == 6 else BFLOAT16

    @property
    def nbytes(self) -> int:
        held = (self.plain_NK, self.panels, self.bias_N)
        return sum(t.numel() * t.element_size() for t in held if t is not None)


def pack(weight_NK: Tensor, bias_N: Tensor | None, *, may_split: bool = False) -> PackedWeight:
    """Arrange a weight for the fastest kernel its device has. Copies, but not on a GPU.

    `may_split`: 16 bits of float32 weights are enough, and so products may be AMX's.
    """
    num_out, num_in = weight_NK.shape
    if weight_NK.is_cuda:
        return PackedWeight(num_out=num_out, num_in=num_in, bias_N=bias_N, plain_NK=weight_NK)
    bias_N = None if bias_N is None else bias_N.float()
    if (lib := library()) is None:
        return PackedWeight(
            num_out=num_out, num_in=num_in, bias_N=bias_N, plain_NK=weight_NK.float().contiguous()
        )
    split = may_split and lib.takes_split and weight_NK.dtype != torch.bfloat16
    panels = to_split_panels(weight_NK) if split else to_panels(weight_NK)
    return PackedWeight(num_out=num_out, num_in=num_in, bias_N=bias_N, panels=panels)


def to_panels(weight_NK: Tensor) -> Tensor:
    """[N, K] → panels; what is past N and K is 0. float16 widens to float32."""
    num_out, num_in = weight_NK.shape
    if weight_NK.dtype != torch.bfloat16:
        weight_NK = F.pad(weight_NK.float(), (0, 0, 0, -num_out % PANEL))
        return weight_NK.view(-1, PANEL, num_in).transpose(1, 2).contiguous()
    weight_NK = F.pad(weight_NK, (0, -num_in % TILE_K, 0, -num_out % PANEL))
    return weight_NK.view(-1, PANEL, weight_NK.shape[1] // 2, 2).transpose(1, 2).contiguous()


def to_split_panels(weight_NK: Tensor) -> Tensor:
    """[N, K] float32 → panels of two parts: the weight rounded, and what that left, rounded."""
    first = weight_NK.bfloat16()
    second = (weight_NK.float() - first.float()).bfloat16()
    parts = [to_panels(part).view(-1, -(-part.shape[1] // TILE_K), TILE_K // 2, PANEL, 2)
             for part in (first, second)]  # fmt: skip
    return torch.stack(parts, dim=2)


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
