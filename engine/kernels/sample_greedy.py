"""token = first index of the largest logit: logits [S, V] float32 → [S] int64, -1 for a NaN row."""

from __future__ import annotations

from torch import Tensor

from engine.kernels.cpu import library


def sample_greedy_ref(logits_SV: Tensor) -> Tensor:
    best_S = logits_SV.argmax(-1)
    return best_S.masked_fill_(logits_SV.isnan().any(-1), -1)


def sample_greedy(logits_SV: Tensor) -> Tensor:
    """Launcher: compiled C on a CPU that has a compiler, else the reference."""
    if logits_SV.device.type == "cpu" and (lib := library()) is not None:
        return lib.argmax(logits_SV)
    return sample_greedy_ref(logits_SV)
