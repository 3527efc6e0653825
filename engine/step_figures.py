"""Histograms of the step loop: whole numbers that only grow, sent with each heartbeat."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

INTER_TOKEN_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
ITERATION_TOKENS = tuple(2**power for power in range(15))


class StepFigures(msgspec.Struct):
    """Counts per bucket (the last has no upper bound) and sums. One step costs two lookups."""

    inter_token: list[int] = msgspec.field(default_factory=lambda: [0] * (len(INTER_TOKEN_S) + 1))
    inter_token_us: int = 0
    iteration: list[int] = msgspec.field(default_factory=lambda: [0] * (len(ITERATION_TOKENS) + 1))
    iteration_tokens: int = 0

    def note(self, num_tokens: int, num_decodes: int, gap_s: float) -> None:
        """One step of `num_tokens`, in which `num_decodes` rows got the token after the one they
        had `gap_s` before."""
        self.iteration[bisect_left(ITERATION_TOKENS, num_tokens)] += 1
        self.iteration_tokens += num_tokens
        if num_decodes:
            self.inter_token[bisect_left(INTER_TOKEN_S, gap_s)] += num_decodes
            self.inter_token_us += round(gap_s * 1e6) * num_decodes
