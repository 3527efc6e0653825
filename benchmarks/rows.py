"""A row of results: ours, the control of the same run, their ratio and the goal."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Row:
    """One line of output. `ratio` is ours ÷ control where more is better."""

    row: str
    unit: str
    ours: float
    control: str = ""
    control_value: float | None = None
    goal: float | None = None  # for the ratio where there is a control, else for `ours`
    at_most: bool = False  # the goal is an upper bound
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return self.ours / self.control_value if self.control_value else None

    @property
    def reached(self) -> bool:
        value = self.ours if self.ratio is None else self.ratio
        if self.goal is None:
            return True
        return value <= self.goal if self.at_most else value >= self.goal

    def print(self) -> None:
        line = asdict(self) | {"ratio": self.ratio, "reached": self.reached}
        line["load"] = os.getloadavg()[0]
        print(
            json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}),
            flush=True,
        )
