"""How to sample: the fields users of OpenAI-style servers know, with one rule each.

`check()` is the only place that enforces ranges; it raises `InvalidRequest` with `param` set.
Caps that an operator may raise (n, stop strings, …) come in as a `SamplingCaps`.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from engine.errors import InvalidRequest
from engine.structured.outputs import GuidedDecodingParams, StructuredCaps, StructuredOutputs

StructuredOutputsParams = StructuredOutputs  # the name that offline users know
GREEDY_BELOW = 1e-5
MAX_LOGPROBS = 20
MAX_LOGPROB_IDS = 128
MAX_SEED = 2**63


class SamplingCaps(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds on list fields; see docs/configuration.md (PAGODA_MAX_…)."""

    n: int = 8
    stop: int = 4
    stop_chars: int = 256
    stop_token_ids: int = 128
    bad_words: int = 128
    bad_word_chars: int = 256
    logit_bias: int = 300
    structured: StructuredCaps = StructuredCaps()


DEFAULT_CAPS = SamplingCaps()
MAX_BEAMS = MAX_LOGPROBS // 2  # each beam looks at twice as many next tokens
MAX_PATTERN = 256  # tokens of a repeated pattern
MAX_PATTERN_COUNT = 64
EMPTY_IDS = "is empty: leave it out or name at least one token id"


class RepetitionDetection(msgspec.Struct, kw_only=True, omit_defaults=True):
    """End a choice whose last tokens are one pattern, `min_count` times in a row."""

    max_pattern_size: int
    min_pattern_size: int = 1
    min_count: int = 3

    def check(self) -> None:
        """Raises `InvalidRequest` for sizes that make no sense or cost too much per token."""
        name = "repetition_detection"
        _whole(f"{name}.max_pattern_size", self.max_pattern_size, 1, MAX_PATTERN)
        _whole(f"{name}.min_pattern_size", self.min_pattern_size, 1, self.max_pattern_size)
        _whole(f"{name}.min_count", self.min_count, 2, MAX_PATTERN_COUNT)


class ThinkingBudget(msgspec.Struct, kw_only=True, omit_defaults=True):
    """After so many tokens of reasoning, its end is the only token that may come."""

    tokens: int
    end_id: int
    start_ids: list[int] = []
    begun: bool = False  # the prompt ends inside the reasoning


class SamplingParams(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Sampling fields of one request. Offline defaults; the HTTP routes fill their own."""

    n: int = 1
    max_tokens: int | None = 16  # None: the rest of the context
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: list[str] = []
    include_stop_str_in_output: bool = False
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    bad_words: list[str] = []
    allowed_token_ids: list[int] | None = None
    logit_bias: dict[int, float] | None = None
    logprobs: int | None = None  # how many beside the chosen token; 0 = the chosen token only
    logprob_token_ids: list[int] | None = None  # score these instead of the likeliest
    prompt_logprobs: int | None = None
    repetition_detection: RepetitionDetection | None = None
    thinking_budget: ThinkingBudget | None = None
    skip_reading_prefix_cache: bool = False
    use_beam_search: bool = False  # `n` beams, judged by their summed log-probabilities
    length_penalty: float = 1.0  # of beams: the sum is divided by length ** penalty
    structured_outputs: StructuredOutputs | None = None
    guided_decoding: GuidedDecodingParams | None = None  # the older name: taken over at once
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            self.stop = [self.stop]
        for name in ("stop", "stop_token_ids", "bad_words"):
            if getattr(self, name) is None:  # what other libraries call "none"
                setattr(self, name, [])
        if self.top_k == 0:
            self.top_k = -1
        if self.guided_decoding is not None:
            if self.structured_outputs is not None:
                _refuse("guided_decoding", "is the older name of structured_outputs; use one")
            self.structured_outputs, self.guided_decoding = self.guided_decoding.newer(), None

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW

    @property
    def scored(self) -> bool:
        """Whether generated tokens come with log-probabilities."""
        return self.logprobs is not None or self.logprob_token_ids is not None

    @property
    def needs_penalties(self) -> bool:
        return (
            self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
            or self.repetition_penalty != 1.0
        )

    def check(self, caps: SamplingCaps = DEFAULT_CAPS, *, vocab_size: int | None = None) -> None:
        """Raise `InvalidRequest` for the first field that is out of range or over its cap."""
        _whole("n", self.n, 1, caps.n)
        if self.max_tokens is not None:
            least = 1 if self.prompt_logprobs is None else 0  # 0 only scores the prompt
            _whole("max_tokens", self.max_tokens, least, 10**15)
        _whole("min_tokens", self.min_tokens, 0, 10**15)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            _refuse("min_tokens", f"is {self.min_tokens}, more than max_tokens ({self.max_tokens})")
        _real("temperature", self.temperature, 0.0, 2.0)
        _real("top_p", self.top_p, 0.0, 1.0, above_low=True)
        _whole("top_k", self.top_k, -1, 10**15)
        _real("min_p", self.min_p, 0.0, 1.0)
        _real("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _real("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _real("repetition_penalty", self.repetition_penalty, 0.0, 1e6, above_low=True)
        if self.seed is not None:
            _whole("seed", self.seed, -MAX_SEED, MAX_SEED - 1)
        if self.structured_outputs is not None:
            if not isinstance(self.structured_outputs, StructuredOutputs):
                _refuse("structured_outputs", "must be StructuredOutputsParams(…)")
            self.structured_outputs.check(caps.structured)
        _strings("stop", self.stop, caps.stop, caps.stop_chars)
        _strings("bad_words", self.bad_words, caps.bad_words, caps.bad_word_chars)
        _ids("stop_token_ids", self.stop_token_ids, caps.stop_token_ids, vocab_size)
        if self.allowed_token_ids is not None:
            if not self.allowed_token_ids:
                _refuse("allowed_token_ids", EMPTY_IDS)
            _ids("allowed_token_ids", self.allowed_token_ids, vocab_size or 10**9, vocab_size)
        if self.logit_bias:
            if not isinstance(self.logit_bias, dict):
                _refuse("logit_bias", "must map token ids to numbers")
            _ids("logit_bias", list(self.logit_bias), caps.logit_bias, vocab_size)
            for bias in self.logit_bias.values():
                _real("logit_bias", bias, -100.0, 100.0)
        if self.repetition_detection is not None:
            self.repetition_detection.check()
        if self.use_beam_search:
            self._check_beams()
        for name in ("logprobs", "prompt_logprobs"):
            if (count := getattr(self, name)) is not None:
                _whole(name, count, 0, MAX_LOGPROBS)
        if (ids := self.logprob_token_ids) is not None:
            if not ids:
                _refuse("logprob_token_ids", EMPTY_IDS)
            _ids("logprob_token_ids", ids, MAX_LOGPROB_IDS, vocab_size)

    def _check_beams(self) -> None:
        """Beams are ranked by the model's own probabilities: nothing may bend them."""
        _whole("n", self.n, 1, MAX_BEAMS)
        _real("length_penalty", self.length_penalty, -10.0, 10.0)
        bending = (
            "stop", "bad_words", "logit_bias", "min_tokens", "structured_outputs",
            "repetition_detection", "thinking_budget", "logprob_token_ids",
        )  # fmt: skip
        for name in bending:
            if getattr(self, name):
                _refuse(name, "cannot be used with use_beam_search")
        if self.allowed_token_ids is not None:
            _refuse("allowed_token_ids", "cannot be used with use_beam_search")
        if self.prompt_logprobs is not None:
            _refuse("prompt_logprobs", "cannot be used with use_beam_search")
        if self.logprobs:
            _refuse("logprobs", "must be 0 with use_beam_search: only the chosen tokens are scored")


def _refuse(param: str, what: str) -> None:
    raise InvalidRequest(f"'{param}' {what}.", param=param)


def _whole(param: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(param, f"must be a whole number between {low} and {high}")
    if not low <= value <= high:
        _refuse(param, f"is {value}; it must be between {low} and {high}")


def _real(param: str, value: Any, low: float, high: float, *, above_low: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        _refuse(param, f"must be a finite number between {low} and {high}")
    if not low <= value <= high or (above_low and value == low):
        bound = f"above {low} and at most {high}" if above_low else f"between {low} and {high}"
        _refuse(param, f"is {value}; it must be {bound}")


def _strings(param: str, values: list[str], most: int, chars: int) -> None:
    if not isinstance(values, list | tuple):
        _refuse(param, "must be a list of strings")
    if len(values) > most:
        _refuse(param, f"has {len(values)} entries; at most {most} are allowed")
    for value in values:
        if not isinstance(value, str) or not 1 <= len(value) <= chars:
            _refuse(param, f"entries must be strings of 1 to {chars} characters")


def _ids(param: str, values: list[int], most: int, vocab_size: int | None) -> None:
    if not isinstance(values, list | tuple):
        _refuse(param, "must be a list of token ids")
    if len(values) > most:
        _refuse(param, f"has {len(values)} entries; at most {most} are allowed")
    limit = 2**31 if vocab_size is None else vocab_size
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
            _refuse(param, f"holds {value!r}; token ids of this model are 0 to {limit - 1}")
