"""What the offline class returns: the shapes users of such libraries know."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Logprob:
    """One candidate at one position: raw log-softmax of the model, natural log."""

    logprob: float
    rank: int | None  # 1 = most likely; None for what `logprob_token_ids` named
    decoded_token: str | None  # None without a tokenizer, or with `detokenize=False`


PositionLogprobs = dict[int, Logprob]  # by token id, chosen token included


@dataclass(slots=True)
class CompletionOutput:
    """One finished (or growing) choice."""

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None = None
    logprobs: list[PositionLogprobs] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None


@dataclass(slots=True)
class RequestOutput:
    """One request: its prompt and its `n` choices in order of index."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: list[PositionLogprobs | None] | None = None
    outputs: list[CompletionOutput] = field(default_factory=list)
    finished: bool = False
    num_cached_tokens: int = 0
