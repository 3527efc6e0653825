"""Drives an engine core without transport: bodies in, token ids and logprobs out."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.core import EngineCore
from engine.messages import QueueBody, TokenLogprob
from engine.sampling_params import SamplingParams


@dataclass
class Answer:
    """What one request got."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[list[TokenLogprob]] = field(default_factory=list)
    prompt_logprobs: list[list[TokenLogprob] | None] = field(default_factory=list)
    error: str = ""


def run(core: EngineCore, jobs: list[tuple[list[int], SamplingParams]]) -> list[Answer]:
    """Submit all jobs together and step until every one has ended."""
    answers = {f"job-{i}": Answer() for i in range(len(jobs))}
    for i, (prompt, params) in enumerate(jobs):
        core.submit(
            QueueBody(
                rid=f"job-{i}",
                attempt=1,
                web="test",
                model="test",
                prompts=[prompt],
                params=params,
                deadline_ms=0,
            )
        )
    while core.has_work():
        for delta in core.step():
            answer = answers[delta.rid]
            for choice in delta.choices:
                answer.token_ids += choice.token_ids
                answer.logprobs += choice.logprobs or []
            if delta.prompt_logprobs is not None:
                answer.prompt_logprobs = delta.prompt_logprobs[0]
            if delta.error is not None:
                answer.error = f"{delta.error.kind}: {delta.error.message}"
    return list(answers.values())
