"""Bodies of the generation routes. Wrong types and ranges become 400 with `param`.

`parse_completion` and `parse_chat` are the entries; null means absent for every optional field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from apps.api import refusals
from apps.api.body import parse_object
from apps.api.caps import MAX_INT, MAX_STRING_CHARS, ApiCaps
from apps.api.errors import from_pydantic
from engine.errors import InvalidRequest
from engine.sampling_params import MAX_SEED, SamplingParams

Int = Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]
Float = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=MAX_STRING_CHARS)]
Prompt = str | list[str] | list[int] | list[list[int]]
PROMPT_FORMS = "must be a string, a list of strings, a list of token ids or a list of such lists"
IGNORED_NAMES = 20
MODEL_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
COMPLETION_TOKENS = 16  # max_tokens of the completions route when nobody says otherwise


def _prompt(value: Any) -> Prompt:
    """Check by hand: a union would collect an error per element and member."""
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{PROMPT_FORMS}, not empty")
    if all(type(item) is int for item in value):
        return value
    if all(type(item) is str for item in value):
        return [_text(item) for item in value]
    if all(type(item) is list and all(type(t) is int for t in item) for item in value):
        return value
    raise ValueError(PROMPT_FORMS)


def _text(value: str) -> str:
    if len(value) > MAX_STRING_CHARS:
        raise ValueError(f"must have at most {MAX_STRING_CHARS} characters")
    return value


def _stop(value: Any) -> list[str]:
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(s, str) for s in strings):
        raise ValueError("must be a string or a list of strings")
    return strings


def _logit_bias(value: Any) -> dict[int, float]:
    if not isinstance(value, dict):
        raise ValueError("must be an object of token id to bias")
    biases: dict[int, float] = {}
    for key, bias in value.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10):
            raise ValueError("keys must be token ids")
        if type(bias) not in (int, float):
            raise ValueError("biases must be numbers from -100 to 100")
        biases[int(key)] = float(bias)
    return biases


class Schema(BaseModel):
    """Strict types (no bool for a number, no "5" for 5); unknown fields are only reported."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class StreamOptions(Schema):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class GenerationBody(Schema):
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
    stop: Annotated[list[str], PlainValidator(_stop, json_schema_input_type=str | list[str])] = (
        Field(default_factory=list)
    )
    include_stop_str_in_output: bool = False
    stop_token_ids: list[Int] = Field(default_factory=list)
    ignore_eos: bool = False
    bad_words: list[str] = Field(default_factory=list)
    allowed_token_ids: list[Int] | None = None
    logit_bias: (
        Annotated[
            dict[int, float],
            PlainValidator(_logit_bias, json_schema_input_type=dict[str, float]),
        ]
        | None
    ) = None
    prompt_logprobs: Int | None = None
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
            prompt_logprobs=self.prompt_logprobs,
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
        return params


class CompletionBody(GenerationBody):
    """POST /v1/completions."""

    prompt: Annotated[Prompt, PlainValidator(_prompt, json_schema_input_type=Prompt)]
    echo: bool = False
    logprobs: Int | None = None
    add_special_tokens: bool = True

    def sampling(self, defaults: Mapping[str, float | int]) -> SamplingParams:
        params = super().sampling(defaults)
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


class TextPart(Schema):
    type: Literal["text", "refusal"]
    text: Text | None = None
    refusal: Text | None = None


def _content(value: Any) -> str | list[TextPart]:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, list):
        raise ValueError("must be a string or a list of parts")
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            raise ValueError("holds a part this model cannot read; only text parts are accepted")
    try:
        return [TextPart.model_validate(part) for part in value]
    except ValidationError:
        raise ValueError("holds a part without text") from None


class Message(Schema):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: (
        Annotated[
            str | list[TextPart],
            PlainValidator(_content, json_schema_input_type=str | list[TextPart]),
        ]
        | None
    ) = None
    name: Annotated[str, Field(max_length=256)] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: Annotated[str, Field(max_length=256)] | None = None
    reasoning: Text | None = None

    def for_template(self) -> dict[str, Any]:
        """The plain form templates expect: content is one string, developer speaks as system."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text or part.refusal or "" for part in content)
        role = "system" if self.role == "developer" else self.role
        message: dict[str, Any] = {"role": role, "content": content or ""}
        for name in ("name", "tool_calls", "tool_call_id", "reasoning"):
            if (value := getattr(self, name)) is not None:
                message[name] = value
        return message


class ChatBody(GenerationBody):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Int | None = None
    logprobs: bool = False
    top_logprobs: Int | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template_kwargs: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    metadata: dict[str, str] | None = None

    def sampling(self, defaults: Mapping[str, float | int]) -> SamplingParams:
        params = super().sampling(defaults)
        if self.max_completion_tokens is not None:
            params.max_tokens = self.max_completion_tokens
        if self.logprobs:
            params.logprobs = self.top_logprobs or 0
        return params


class TokenizeBody(Schema):
    """POST /tokenize: `prompt` or `messages`."""

    model: Annotated[str, Field(max_length=256)] | None = None
    prompt: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=2048)] | None = None
    add_special_tokens: bool | None = None  # default: true for a prompt, false for messages
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    return_token_strs: bool = False


class DetokenizeBody(Schema):
    """POST /detokenize."""

    model: Annotated[str, Field(max_length=256)] | None = None
    tokens: list[Int]


COMPLETION_KNOWN = frozenset(CompletionBody.model_fields) | refusals.COMPLETIONS.keys()
CHAT_KNOWN = frozenset(ChatBody.model_fields) | refusals.CHAT.keys()
FIELD_NAMES = frozenset().union(
    *(m.model_fields for m in (CompletionBody, ChatBody, Message, TextPart, StreamOptions))
)
B = TypeVar("B", bound=GenerationBody)


def parse_completion(data: bytes, caps: ApiCaps) -> tuple[CompletionBody, list[str]]:
    """The body and the names of fields nobody knows. Raises `InvalidRequest`."""
    raw = parse_object(data)
    prompts = raw.get("prompt")
    refusals.refuse_unsupported(raw, refusals.COMPLETIONS)
    body = _validate(CompletionBody, raw)
    if isinstance(prompts, list) and not isinstance(prompts[0], int):
        _at_most("prompt", len(prompts), caps.max_prompts)
    if body.logprobs is not None and body.logprobs < 0:
        raise InvalidRequest("'logprobs' must be 0 to 20.", param="logprobs")
    if body.max_tokens == 0 and not body.echo:
        raise InvalidRequest("'max_tokens' may be 0 only with echo.", param="max_tokens")
    _check_common(body)
    return body, ignored_names(raw, COMPLETION_KNOWN)


def parse_chat(data: bytes, caps: ApiCaps) -> tuple[ChatBody, list[str]]:
    """The body and the names of fields nobody knows. Raises `InvalidRequest`."""
    raw = parse_object(data)
    refusals.refuse_unsupported(raw, refusals.CHAT)
    if isinstance(raw.get("messages"), list):
        _at_most("messages", len(raw["messages"]), caps.max_messages)
    body = _validate(ChatBody, raw)
    if body.top_logprobs is not None:
        if not body.logprobs:
            raise InvalidRequest("'top_logprobs' needs logprobs: true.", param="top_logprobs")
        if not 0 <= body.top_logprobs <= 20:
            raise InvalidRequest("'top_logprobs' must be 0 to 20.", param="top_logprobs")
    if body.max_completion_tokens is not None and body.max_completion_tokens < 1:
        raise InvalidRequest(
            "'max_completion_tokens' must be at least 1.", param="max_completion_tokens"
        )
    _check_metadata(body.metadata)
    _check_common(body)
    return body, ignored_names(raw, CHAT_KNOWN)


def _validate(kind: type[B], raw: dict[str, Any]) -> B:
    present = {name: value for name, value in raw.items() if value is not None}
    options = present.get("stream_options")
    if isinstance(options, dict):
        present["stream_options"] = {k: v for k, v in options.items() if v is not None}
    try:
        return kind.model_validate(present)
    except ValidationError as error:
        raise from_pydantic(error, FIELD_NAMES) from None


def _check_common(body: GenerationBody) -> None:
    """What does not depend on the model. Raises `InvalidRequest`."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("'stream_options' needs stream: true.", param="stream_options")
    options = body.stream_options
    if options is not None and options.continuous_usage_stats and not options.include_usage:
        raise InvalidRequest(
            "'continuous_usage_stats' needs include_usage: true.", param="stream_options"
        )
    if body.stream and body.prompt_logprobs is not None:
        raise InvalidRequest("'prompt_logprobs' cannot be streamed.", param="prompt_logprobs")


def _check_metadata(metadata: dict[str, str] | None) -> None:
    if metadata is None:
        return
    _at_most("metadata", len(metadata), 16)
    for key, value in metadata.items():
        if len(key) > 64 or len(value) > 512:
            raise InvalidRequest(
                "'metadata' takes keys of 64 and values of 512 characters.", param="metadata"
            )


def _at_most(param: str, count: int, most: int) -> None:
    if count > most:
        raise InvalidRequest(
            f"'{param}' has {count} entries; at most {most} are allowed.", param=param
        )


def ignored_names(raw: dict[str, Any], known: frozenset[str]) -> list[str]:
    """Unknown fields, as they may stand in a header."""
    unknown = (name for name in raw if name not in known)
    shown = [
        n for n in unknown if n.isascii() and n.isprintable() and 0 < len(n) <= 64 and "," not in n
    ]
    return shown[:IGNORED_NAMES]
