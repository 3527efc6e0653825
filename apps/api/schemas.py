"""Bodies of completions and chat. Wrong types become 400 with `param`; see `parse.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from apps.api.caps import MAX_INT
from apps.api.chat_messages import Message
from apps.api.field_types import (
    BiasField,
    ChoiceField,
    PromptField,
    ScalarsField,
    StopField,
    TextsField,
)
from apps.api.output_form import FormFields
from apps.api.schema_types import Float, Int, Schema, Text
from apps.api.tools import ToolSpec
from engine.sampling_params import MAX_SEED, RepetitionDetection, SamplingParams

MODEL_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
MAX_PRIORITY = 1000
COMPLETION_TOKENS = 16  # max_tokens of the completions route when nobody says otherwise


class StreamOptions(Schema):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class Detection(Schema):
    """When repeated tokens end a choice; ranges are checked with the sampling fields."""

    max_pattern_size: Int
    min_pattern_size: Int = 1
    min_count: Int = 3


class GenerationBody(FormFields):
    """Fields that completions and chat share."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Int = 1
    max_tokens: Int | None = None
    min_tokens: Int = 0
    temperature: Float | None = None
    top_p: Float | None = None
    top_k: Int | None = None
    min_p: Float | None = None
    presence_penalty: Float = 0.0
    frequency_penalty: Float = 0.0
    repetition_penalty: Float | None = None
    seed: Annotated[int, Field(ge=-MAX_SEED, le=MAX_SEED - 1)] | None = None
    stop: StopField = Field(default_factory=list)
    include_stop_str_in_output: bool = False
    stop_token_ids: list[Int] = Field(default_factory=list)
    ignore_eos: bool = False
    bad_words: list[str] = Field(default_factory=list)
    allowed_token_ids: list[Int] | None = None
    logit_bias: BiasField | None = None
    logprob_token_ids: list[Int] | None = None
    prompt_logprobs: Int | None = None
    repetition_detection: Detection | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, le=MAX_INT)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool | None = None  # default: as the model was started
    stream_interval: Annotated[int, Field(ge=1, le=32)] | None = None  # the same
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    use_beam_search: bool = False
    length_penalty: Float = 1.0
    cache_salt: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    skip_reading_prefix_cache: bool = False
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    user: Annotated[str, Field(max_length=256)] | None = None
    request_id: Annotated[str, Field(max_length=128)] | None = None

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, defaults: Mapping[str, float | int]) -> SamplingParams:
        """Sampling fields; where the request is silent, the model's own defaults apply."""
        params = SamplingParams(
            n=self.n,
            max_tokens=self.max_tokens,
            min_tokens=self.min_tokens,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed,
            stop=self.stop,
            include_stop_str_in_output=self.include_stop_str_in_output,
            stop_token_ids=self.stop_token_ids,
            ignore_eos=self.ignore_eos,
            bad_words=self.bad_words,
            allowed_token_ids=self.allowed_token_ids,
            logit_bias=self.logit_bias,
            logprob_token_ids=self.logprob_token_ids,
            prompt_logprobs=self.prompt_logprobs,
            skip_reading_prefix_cache=self.skip_reading_prefix_cache,
            use_beam_search=self.use_beam_search,
            length_penalty=self.length_penalty,
            structured_outputs=self.form(),
            skip_special_tokens=self.skip_special_tokens,
            spaces_between_special_tokens=self.spaces_between_special_tokens,
        )
        for name in MODEL_DEFAULTS:
            value = getattr(self, name)
            value = defaults.get(name) if value is None else value
            if value is not None:
                setattr(params, name, value)
        if params.top_k == 0:
            params.top_k = -1
        if self.repetition_detection is not None:
            params.repetition_detection = RepetitionDetection(
                **self.repetition_detection.model_dump()
            )
        return params

    @property
    def form_chars(self) -> int:
        """How much is yet to be checked of what the answer has to look like, roughly."""
        return 0


class CompletionBody(GenerationBody):
    """POST /v1/completions."""

    prompt: PromptField
    echo: bool = False
    logprobs: Int | None = None
    add_special_tokens: bool = True

    def sampling(self, defaults: Mapping[str, float | int]) -> SamplingParams:
        params = super().sampling(defaults)
        if self.logprob_token_ids is None:
            params.logprobs = self.logprobs
        if self.max_tokens is None:
            params.max_tokens = COMPLETION_TOKENS
        if self.echo and (self.logprobs is not None or self.max_tokens == 0):
            params.prompt_logprobs = self.logprobs or 0
        return params

    def texts(self) -> list[str] | None:
        """The prompts as texts, or None when they are token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        first = self.prompt[0]
        return self.prompt if isinstance(first, str) else None  # type: ignore[return-value]

    def token_lists(self) -> list[list[int]]:
        """The prompts as token ids (only when `texts()` is None)."""
        assert isinstance(self.prompt, list)
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]


class ChatBody(GenerationBody):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    chat_template: Text | None = None  # only where the deployment trusts its callers
    documents: list[dict[str, str]] | None = None  # for templates that show them
    echo: bool = False  # begin with the last message when it is the assistant's
    max_completion_tokens: Int | None = None
    logprobs: bool = False
    top_logprobs: Int | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template_kwargs: ScalarsField = Field(default_factory=dict)
    metadata: TextsField | None = None
    tools: list[ToolSpec] | None = None
    tool_choice: ChoiceField | None = None  # default: auto when there are tools
    parallel_tool_calls: bool = True
    include_reasoning: bool = True
    thinking_token_budget: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None

    @property
    def offered(self) -> list[ToolSpec]:
        """The tools that the model may call in this answer."""
        return [] if self.tool_choice == "none" else self.tools or []

    @property
    def forced_name(self) -> str | None:
        """The function that has to be called, when the request names one."""
        choice = self.tool_choice
        return choice["function"]["name"] if isinstance(choice, dict) else None

    @property
    def must_call(self) -> bool:
        """Whether the whole answer has to be calls."""
        return self.tool_choice == "required" or self.forced_name is not None

    @property
    def form_chars(self) -> int:
        tools = self.callable_tools if self.must_call else []
        return sum(len(str(tool.function.parameters)) for tool in tools)

    @property
    def callable_tools(self) -> list[ToolSpec]:
        """Those of the offered tools that a forced call may name."""
        name = self.forced_name
        return [tool for tool in self.offered if name in (None, tool.function.name)]

    def sampling(self, defaults: Mapping[str, float | int]) -> SamplingParams:
        params = super().sampling(defaults)
        if self.max_completion_tokens is not None:
            params.max_tokens = self.max_completion_tokens
        if self.logprobs and self.logprob_token_ids is None:
            params.logprobs = self.top_logprobs or 0
        return params


def asked_tokens(body: GenerationBody) -> int | None:
    """The output that a request itself asks for, or None when a default decides."""
    asked: int | None = getattr(body, asked_name(body))
    return asked


def asked_name(body: GenerationBody) -> str:
    """The field that bounds the output."""
    newer = isinstance(body, ChatBody) and body.max_completion_tokens is not None
    return "max_completion_tokens" if newer else "max_tokens"
