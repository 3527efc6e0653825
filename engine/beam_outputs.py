"""Beam search as users of the offline class know it."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.outputs import RequestOutput
from engine.sampling_params import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearchParams:
    """`LLM.beam_search` takes these in place of `SamplingParams`."""

    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False
    temperature: float = 0.0  # beams are ranked by the model's own probabilities: no effect

    def sampling(self) -> SamplingParams:
        return SamplingParams(
            n=self.beam_width,
            max_tokens=self.max_tokens,
            ignore_eos=self.ignore_eos,
            length_penalty=self.length_penalty,
            include_stop_str_in_output=self.include_stop_str_in_output,
            use_beam_search=True,
            logprobs=0,
        )


@dataclass(slots=True)
class BeamSearchSequence:
    """One beam: prompt and output tokens, and the sum of the output's log-probabilities."""

    tokens: list[int]
    cum_logprob: float
    text: str
    finish_reason: str | None
    stop_reason: str | int | None


@dataclass(slots=True)
class BeamSearchOutput:
    """The beams of one prompt, best first."""

    sequences: list[BeamSearchSequence] = field(default_factory=list)

    @classmethod
    def of(cls, output: RequestOutput) -> BeamSearchOutput:
        return cls(
            [
                BeamSearchSequence(
                    tokens=output.prompt_token_ids + choice.token_ids,
                    cum_logprob=choice.cumulative_logprob or 0.0,
                    text=(output.prompt or "") + choice.text,
                    finish_reason=choice.finish_reason,
                    stop_reason=choice.stop_reason,
                )
                for choice in output.outputs
            ]
        )
