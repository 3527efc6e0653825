"""logits[places[i], v] = -inf where bit v % 32 of masks[rows[i], v // 32] is 0, in place.

logits [S, V] float32, masks [R, W] int32 with W = ceil(V / 32), places and rows [n] int64
→ [n] bool: whether the mask leaves any token.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.cpu import library

Masks = NDArray[np.int32]
Places = NDArray[np.int64]


def apply_masks_ref(
    logits_SV: Tensor, masks_RW: Masks, places: Places, rows: Places
) -> NDArray[np.bool_]:
    logits, width = logits_SV.numpy(), logits_SV.shape[1]
    bits = masks_RW[rows].view(np.uint8)
    allowed = np.unpackbits(bits, axis=1, bitorder="little", count=width).view(np.bool_)
    logits[places] = np.where(allowed, logits[places], np.float32(-np.inf))
    return np.asarray(allowed.any(axis=1))


def apply_masks(
    logits_SV: Tensor, masks_RW: Masks, places: Places, rows: Places
) -> NDArray[np.bool_]:
    """Launcher: compiled C on a machine that has a compiler, else the reference."""
    if (lib := library()) is not None:
        return lib.apply_masks(logits_SV, masks_RW, places, rows)
    return apply_masks_ref(logits_SV, masks_RW, places, rows)
