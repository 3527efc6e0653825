"""Drives a pooling core without transport: prompts in, vectors out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.core import EngineCore
from engine.messages import QueueBody
from engine.pooling.params import PoolingParams, PoolingTask
from engine.sampling_params import SamplingParams

Vector = NDArray[np.float32]


def run(
    core: EngineCore, prompts: list[list[int]], task: PoolingTask, *, together: bool = True,
    seconds: list[int] | None = None, activate: bool | None = None, dimensions: int | None = None,
) -> list[Vector]:  # fmt: skip
    """Every prompt's answer; matrices have one row per token."""
    bodies = [
        QueueBody(
            rid=f"job-{i}",
            attempt=1,
            web="test",
            model="test",
            prompts=[prompt],
            params=SamplingParams(max_tokens=0),
            pooling=PoolingParams(
                task=task,
                activate=activate,
                dimensions=dimensions,
                second_at=[seconds[i]] if seconds else [],
            ),
            deadline_ms=0,
        )
        for i, prompt in enumerate(prompts)
    ]
    found: dict[str, Vector] = {}
    for body in bodies:
        core.submit(body)
        if not together:
            _drain(core, found)
    _drain(core, found)
    answers = [found[body.rid] for body in bodies]
    if task.per_token:
        return [a.reshape(len(p), -1) for a, p in zip(answers, prompts, strict=True)]
    return answers


def _drain(core: EngineCore, found: dict[str, Vector]) -> None:
    while core.has_work():
        for delta in core.step():
            assert delta.error is None, delta.error
            for choice in delta.choices:
                assert choice.vector is not None
                found[delta.rid] = np.frombuffer(choice.vector, "<f4")
