"""Forbid all but the likeliest tokens: min-p, then top-k, then top-p, as -inf in logits [S, V].

min_p: tokens below min_p × the largest probability. top_k: all but the k largest (ties with the
k-th stay). top_p: the smallest set of largest probabilities, after top_k, whose sum reaches p; the
token that crosses p stays. Probabilities are float32 softmax of the logits given.
"""

from __future__ import annotations

import torch
from torch import Tensor

_OUT = float("-inf")
SHORTLIST = 1024  # candidates looked at before a whole vocabulary is sorted


def sample_filter(logits_SV: Tensor, top_k_S: Tensor, top_p_S: Tensor, min_p_S: Tensor) -> Tensor:
    """Filtered logits, in place. top_k ≤ 0, top_p 1 and min_p 0 leave a row as it is."""
    if bool((min_p_S > 0).any()):
        peak_S1 = logits_SV.amax(-1, keepdim=True)
        floor_S1 = peak_S1 + min_p_S.log()[:, None]  # log 0 = -inf keeps everything
        logits_SV.masked_fill_(logits_SV < floor_S1, _OUT)
    vocab = logits_SV.shape[1]
    k_S = torch.where(top_k_S > 0, top_k_S, vocab).clamp(max=vocab)
    limited_S = k_S < vocab
    if not bool((limited_S | (top_p_S < 1)).any()):
        return logits_SV
    largest = int(k_S[limited_S].max()) if bool(limited_S.any()) else 0
    _top_k_top_p(logits_SV, k_S, top_p_S, min(vocab, max(SHORTLIST, largest)))
    return logits_SV


def _top_k_top_p(logits_SV: Tensor, k_S: Tensor, top_p_S: Tensor, count: int) -> None:
    """Find each row's smallest allowed logit in its `count` largest ones; widen if p needs more."""
    top_SC = logits_SV.topk(count, dim=-1).values
    place_C = torch.arange(count)
    limited_S = k_S < logits_SV.shape[1]
    kth_S1 = top_SC.gather(1, (k_S.clamp(max=count) - 1)[:, None])
    keep_SC = (top_SC >= kth_S1) | ~limited_S[:, None]
    whole_S1 = torch.where(
        limited_S[:, None],
        top_SC.masked_fill(~keep_SC, _OUT).logsumexp(-1, keepdim=True),
        logits_SV.logsumexp(-1, keepdim=True),
    )
    before_SC = (top_SC - whole_S1).exp().masked_fill(~keep_SC, 0).cumsum(-1)
    before_SC = before_SC.roll(1, dims=-1)
    before_SC[:, 0] = 0.0  # the likeliest token always stays
    keep_SC &= (before_SC < top_p_S[:, None]) | (top_p_S >= 1)[:, None]
    short_S = keep_SC[:, -1] & ~limited_S & (top_p_S < 1)
    if count < logits_SV.shape[1] and bool(short_S.any()):
        _top_k_top_p(logits_SV, k_S, top_p_S, logits_SV.shape[1])
        return
    last_S1 = keep_SC.mul(place_C + 1).amax(-1, keepdim=True).sub(1).clamp(min=0)
    floor_S1 = top_SC.gather(1, last_S1)
    untouched_S1 = (~limited_S & (top_p_S >= 1))[:, None]
    logits_SV.masked_fill_((logits_SV < floor_S1) & ~untouched_S1, _OUT)
