"""What follows attention in a layer that adds first and norms then (BERT).

hidden [T, E] float32 is updated in place: hidden = norm(hidden + o(mixed)), then
hidden = norm(hidden + down(act(up(hidden)))); mixed [T, E] is attention's output, a norm is
(weight, bias, eps). CPU with float32 weights, split or not, and GELU: one C call that takes 96 rows
(split: 192) at a time through all of it, so that what lies between the products never leaves the
second cache. Otherwise op by op, with the same sums in the same order.
"""

from __future__ import annotations

from torch import Tensor

from engine.kernels.add_norm import add_layer_norm
from engine.kernels.cpu import library
from engine.kernels.cpu.bindings import FLOAT32, SPLIT
from engine.kernels.gated_activation import activate
from engine.kernels.packed_gemm import PackedWeight, packed_gemm

Norm = tuple[Tensor, Tensor | None, float]


def post_norm_block_ref(
    mixed_TE: Tensor,
    hidden_TE: Tensor,
    weights: tuple[PackedWeight, PackedWeight, PackedWeight],
    norms: tuple[Norm, Norm],
    activation: str,
) -> None:
    o, up, down = weights
    first, second = norms
    middle_TE = add_layer_norm(packed_gemm(mixed_TE, o), hidden_TE, *first)
    wide_TF = activate(packed_gemm(middle_TE, up), activation)
    hidden_TE.copy_(add_layer_norm(packed_gemm(wide_TF, down), middle_TE, *second))


def post_norm_block(
    mixed_TE: Tensor,
    hidden_TE: Tensor,
    weights: tuple[PackedWeight, PackedWeight, PackedWeight],
    norms: tuple[Norm, Norm],
    activation: str,
) -> None:
    """Launcher: compiled C for panels of float32 weights and GELU, else the reference."""
    kinds = {None if weight.panels is None else weight.kind for weight in weights}
    if kinds in ({FLOAT32}, {SPLIT}) and activation == "gelu" and (lib := library()) is not None:
        lib.post_norm_block(mixed_TE, hidden_TE, weights, norms)
    else:
        post_norm_block_ref(mixed_TE, hidden_TE, weights, norms, activation)
