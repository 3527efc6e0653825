"""Muon: momentum whose matrix updates are made orthogonal by a Newton-Schulz iteration.

The quintic iteration's coefficients are those of K. Jordan et al., "Muon: An optimizer for hidden
layers in neural networks" (2024). Matrices of one shape are stacked and go through it together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(update_BMN: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of each matrix towards 1; M <= N. Works in bfloat16."""
    x_BMN = update_BMN.bfloat16()
    x_BMN = x_BMN / (x_BMN.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram_BMM = x_BMN @ x_BMN.mT
        x_BMN = _A * x_BMN + (_B * gram_BMM + _C * gram_BMM @ gram_BMM) @ x_BMN
    return x_BMN


class Muon:
    """Nesterov momentum with orthogonal updates for the hidden matrices."""

    def __init__(
        self, weights: Iterable[nn.Parameter], *, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        groups: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for weight in weights:
            rows, cols = weight.shape
            groups[(rows, cols)].append(weight)
        self.groups = list(groups.values())
        self.momenta = [torch.zeros(len(g), *g[0].shape, device=g[0].device) for g in self.groups]
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update with the given learning rate; gradients stay as they are."""
        for group, momentum in zip(self.groups, self.momenta, strict=True):
            grads = torch.stack([w.grad for w in group if w.grad is not None]).float()
            momentum.lerp_(grads, 1 - self.momentum)
            update = grads.lerp(momentum, self.momentum)
            rows, cols = update.shape[-2:]
            wide = update if rows <= cols else update.mT
            flat = orthogonalise(wide)
            flat = (flat if rows <= cols else flat.mT).float() * max(1.0, rows / cols) ** 0.5
            torch._foreach_mul_(group, 1 - rate * self.decay)
            torch._foreach_add_(group, list(flat.unbind(0)), alpha=-rate)

    def state(self) -> list[Tensor]:
        """Momenta, for checkpoints."""
        return self.momenta
