"""ctypes face of the compiled kernels: checks, pointers, output tensors; no maths.

Short ops keep the GIL: giving it up at each of some fifty calls a step would let another Python
thread make each of them wait. Long ones release it.
"""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from engine.kernels.attention_plan import AttentionPlan
    from engine.kernels.lora_delta import LoraTable
    from engine.kernels.lora_plan import LoraTiles
    from engine.kernels.packed_gemm import PackedWeight
    from engine.kernels.post_norm_block import Norm
    from engine.kernels.rope_cache import HeadLayout

LANES = 16
FLOAT32, BFLOAT16, SPLIT = range(3)  # kinds of panels; SPLIT: float32 as two bfloat16 parts
TILE_ROWS, TILE_K = 16, 32  # of AMX
MAX_BLOCK, MAX_DIM = 128, 512
LONG_OP_FLOPS = 50_000_000  # about half a millisecond on one core
LONG_MASKS = 1_000_000  # logits, the same

_SIGNATURES = {
    "pagoda_set_threads": [c_int64],
    "pagoda_rounds_bf16": [],
    "pagoda_takes_split": [],
    "pagoda_gemm": [c_void_p] * 5 + [c_int64] * 5,
    "pagoda_add_norm": [c_void_p] * 4 + [c_int64] * 2 + [c_float],
    "pagoda_silu_mul": [c_void_p] * 2 + [c_int64] * 2,
    "pagoda_rope_cache": [c_void_p] * 8 + [c_int64] * 5 + [c_float, c_int64],
    "pagoda_attention": [c_void_p] * 7 + [c_int64] * 8 + [c_float, c_int64],
    "pagoda_packed_attention": [c_void_p] * 5 + [c_int64] * 6 + [c_float],
    "pagoda_add_layer_norm": [c_void_p] * 5 + [c_int64] * 2 + [c_float],
    "pagoda_gelu": [c_void_p] * 2 + [c_int64] * 3,
    "pagoda_post_norm_block": [c_void_p] * 12 + [c_int64] * 4 + [c_float],
    "pagoda_lora": [c_void_p] * 6 + [c_int64] * 5,
    "pagoda_apply_masks": [c_void_p] * 5 + [c_int64] * 3,
    "pagoda_argmax": [c_void_p] * 2 + [c_int64] * 2,
    "pagoda_gumbel": [c_void_p] * 4 + [c_int64] * 2,
}
_ANSWERS = ("pagoda_set_threads", "pagoda_rounds_bf16", "pagoda_takes_split")


class CpuLibrary:
    """The loaded library. One step loop calls it; its thread pool is shared."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._short, self._long = ctypes.PyDLL(str(path)), ctypes.CDLL(str(path))
        for handle in (self._short, self._long):
            for name, kinds in _SIGNATURES.items():
                function = getattr(handle, name)
                function.argtypes = kinds
                function.restype = c_int64 if name in _ANSWERS else None
        # bfloat16 weights meet activations rounded to bfloat16, as this CPU multiplies them
        self.rounds_bf16 = bool(self._short.pagoda_rounds_bf16())
        # AMX: float32 weights may be packed in two bfloat16 parts
        self.takes_split = bool(self._short.pagoda_takes_split())

    def set_threads(self, threads: int) -> int:
        """Grow the pool to `threads`; returns its size (it never shrinks)."""
        return int(self._long.pagoda_set_threads(threads))

    def packed_gemm(
        self, x_TK: Tensor, weight: PackedWeight, out_TN: Tensor | None = None
    ) -> Tensor:
        panels = weight.panels
        assert panels is not None
        assert x_TK.dtype == torch.float32
        assert x_TK.stride(1) == 1
        rows = x_TK.shape[0]
        y_TN = torch.empty(rows, weight.num_out) if out_TN is None else out_TN
        scratch = None
        if weight.kind != FLOAT32:
            whole = -(-rows // TILE_ROWS) * TILE_ROWS, -(-weight.num_in // TILE_K) * TILE_K
            scratch = torch.empty(whole, dtype=torch.int32)
        flops = 2 * rows * weight.num_in * weight.num_out
        (self._long if flops > LONG_OP_FLOPS else self._short).pagoda_gemm(
            x_TK.data_ptr(),
            panels.data_ptr(),
            _pointer(weight.bias_N),
            y_TN.data_ptr(),
            _pointer(scratch),
            rows,
            weight.num_in,
            weight.num_out,
            x_TK.stride(0),
            weight.kind,
        )
        return y_TN

    def add_norm(
        self, x_TE: Tensor | None, residual_TE: Tensor, weight_E: Tensor, eps: float
    ) -> Tensor:
        out_TE = torch.empty_like(residual_TE)
        rows, width = residual_TE.shape
        self._short.pagoda_add_norm(
            _pointer(x_TE),
            residual_TE.data_ptr(),
            weight_E.data_ptr(),
            out_TE.data_ptr(),
            rows,
            width,
            eps,
        )
        return out_TE

    def silu_mul(self, gate_up_TF: Tensor) -> Tensor:
        rows, width = gate_up_TF.shape[0], gate_up_TF.shape[1] // 2
        out_TF = torch.empty(rows, width)
        self._short.pagoda_silu_mul(gate_up_TF.data_ptr(), out_TF.data_ptr(), rows, width)
        return out_TF

    def rope_cache(
        self,
        qkv: Tensor,
        cos_sin: tuple[Tensor, Tensor],
        keys: Tensor,
        values: Tensor,
        slots: Tensor,
        heads: HeadLayout,
    ) -> None:
        self._short.pagoda_rope_cache(
            qkv.data_ptr(),
            cos_sin[0].data_ptr(),
            cos_sin[1].data_ptr(),
            _pointer(heads.q_norm_D),
            _pointer(heads.k_norm_D),
            keys.data_ptr(),
            values.data_ptr(),
            slots.data_ptr(),
            qkv.shape[0],
            heads.num_heads,
            heads.num_kv_heads,
            heads.head_dim,
            keys.shape[2],
            heads.eps,
            keys.dtype == torch.bfloat16,
        )

    @staticmethod
    def can_attend(k_cache_NGBD: Tensor) -> bool:
        """Blocks and heads must fill whole vectors; anything else takes the reference."""
        _, _, block, dim = k_cache_NGBD.shape
        return block % LANES == 0 and dim % LANES == 0 and block <= MAX_BLOCK and dim <= MAX_DIM

    def paged_attention(
        self,
        q_THD: Tensor,
        keys: Tensor,
        values: Tensor,
        plan: AttentionPlan,
        scale: float,
        window: int,
    ) -> Tensor:
        tokens, q_heads, dim = q_THD.shape
        kv_heads, block = keys.shape[1], keys.shape[2]
        out = torch.empty(tokens, q_heads * dim)
        long = tokens > 32 or plan.block_table.shape[0] > 8
        (self._long if long else self._short).pagoda_attention(
            q_THD.data_ptr(),
            out.data_ptr(),
            keys.data_ptr(),
            values.data_ptr(),
            plan.q_start.data_ptr(),
            plan.seq_len.data_ptr(),
            plan.block_table.data_ptr(),
            plan.seq_len.shape[0],
            q_THD.stride(0),
            plan.block_table.stride(0),
            q_heads,
            kv_heads,
            dim,
            block,
            window,
            scale,
            keys.dtype == torch.bfloat16,
        )
        return out

    def packed_attention(
        self, qkv_TE: Tensor, q_start: Tensor, num_heads: int, window: int, scale: float,
        out_TE: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """q, k and v side by side in `qkv_TE`; see packed_attention.py."""
        tokens, width = qkv_TE.shape[0], qkv_TE.shape[1] // 3
        out = torch.empty(tokens, width) if out_TE is None else out_TE
        first = qkv_TE.data_ptr()
        self._long.pagoda_packed_attention(
            first,
            first + 4 * width,
            first + 8 * width,
            out.data_ptr(),
            q_start.data_ptr(),
            q_start.shape[0] - 1,
            num_heads,
            width // num_heads,
            qkv_TE.stride(0),
            window,
            int(q_start.diff().max()),
            scale,
        )
        return out

    def add_layer_norm(
        self,
        x_TE: Tensor | None,
        residual_TE: Tensor,
        weight_E: Tensor,
        bias_E: Tensor | None,
        eps: float,
    ) -> Tensor:
        out_TE = torch.empty_like(residual_TE)
        rows, width = residual_TE.shape
        self._short.pagoda_add_layer_norm(
            _pointer(x_TE),
            residual_TE.data_ptr(),
            weight_E.data_ptr(),
            _pointer(bias_E),
            out_TE.data_ptr(),
            rows,
            width,
            eps,
        )
        return out_TE

    def gelu(self, x_TF: Tensor, *, gated: bool) -> Tensor:
        rows, width = x_TF.shape[0], x_TF.shape[1] // (2 if gated else 1)
        out_TF = torch.empty(rows, width)
        self._short.pagoda_gelu(x_TF.data_ptr(), out_TF.data_ptr(), rows, width, gated)
        return out_TF

    def post_norm_block(
        self,
        mixed_TE: Tensor,
        hidden_TE: Tensor,
        weights: tuple[PackedWeight, PackedWeight, PackedWeight],
        norms: tuple[Norm, Norm],
    ) -> None:
        """Updates `hidden_TE`; see post_norm_block.py."""
        assert mixed_TE.is_contiguous()
        assert hidden_TE.is_contiguous()
        self._long.pagoda_post_norm_block(
            mixed_TE.data_ptr(),
            hidden_TE.data_ptr(),
            *(_pointer(part) for weight in weights for part in (weight.panels, weight.bias_N)),
            *(_pointer(part) for norm in norms for part in norm[:2]),
            hidden_TE.shape[0],
            hidden_TE.shape[1],
            weights[1].num_out,
            weights[0].kind,
            norms[0][2],
        )

    def lora_delta(self, y_TN: Tensor, x_TK: Tensor, table: LoraTable, tiles: LoraTiles) -> None:
        num_out = y_TN.shape[1]
        long = len(tiles.tokens) * (table.num_in + num_out) > LONG_OP_FLOPS // 64  # about rank 16
        (self._long if long else self._short).pagoda_lora(
            x_TK.data_ptr(),
            y_TN.data_ptr(),
            tiles.tokens_at,
            tiles.tiles_at,
            table.places_at,
            table.ends_at,
            len(tiles.tiles),
            table.num_in,
            len(table.widths),
            num_out,
            x_TK.stride(0),
        )

    def apply_masks(
        self,
        logits_SV: Tensor,
        masks_RW: NDArray[np.int32],
        places: NDArray[np.int64],
        rows: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        assert logits_SV.is_contiguous()
        assert logits_SV.dtype == torch.float32
        alive = np.empty(len(places), np.bool_)
        width = logits_SV.shape[1]
        long = len(places) * width > LONG_MASKS
        (self._long if long else self._short).pagoda_apply_masks(
            logits_SV.data_ptr(),
            masks_RW.ctypes.data,
            places.ctypes.data,
            rows.ctypes.data,
            alive.ctypes.data,
            len(places),
            width,
            masks_RW.shape[1],
        )
        return alive

    def argmax(self, logits_SV: Tensor) -> Tensor:
        """[S] int64; -1 marks a row that holds a NaN."""
        out_S = torch.empty(logits_SV.shape[0], dtype=torch.int64)
        self._short.pagoda_argmax(logits_SV.data_ptr(), out_S.data_ptr(), *logits_SV.shape)
        return out_S

    def sample_gumbel(
        self, logits_SV: Tensor, seeds_S: NDArray[np.uint64], positions_S: NDArray[np.int64]
    ) -> Tensor:
        """[S] int64; -1 where no token is possible."""
        out_S = torch.empty(logits_SV.shape[0], dtype=torch.int64)
        self._short.pagoda_gumbel(
            logits_SV.data_ptr(),
            seeds_S.ctypes.data,
            positions_S.ctypes.data,
            out_S.data_ptr(),
            *logits_SV.shape,
        )
        return out_S


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
