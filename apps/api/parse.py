"""JSON bodies → checked requests. Wrong types, ranges and combinations become 400 with `param`.

`parse_completion` and `parse_chat` are the entries; null means absent for every optional field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from apps.api import refusals
from apps.api.body import parse_object
from apps.api.caps import ApiCaps
from apps.api.chat_messages import CalledFunction, Message, TextPart, ToolCall
from apps.api.errors import from_pydantic
from apps.api.output_form import JsonSchemaFormat, ResponseFormat, StructuredFields
from apps.api.schema_types import Schema, names_of, nested
from apps.api.schemas import (
    ChatBody,
    CompletionBody,
    Detection,
    GenerationBody,
    StreamOptions,
)
from apps.api.tools import Function, ToolSpec, check_tools
from engine.errors import InvalidRequest

IGNORED_NAMES = 20
Asks = Callable[[dict[str, Any]], bool]


def _beside_beams(name: str) -> Asks:
    """Beams are not sampled, and ranked by what the model itself finds likely."""
    return lambda raw: raw[name] is not None and bool(raw.get("use_beam_search"))


def _without_tools(name: str) -> Asks:
    return lambda raw: raw[name] is not None and not raw.get("tools")


SAMPLED = (
    "temperature", "top_p", "top_k", "min_p", "seed",
    "presence_penalty", "frequency_penalty", "repetition_penalty",
)  # fmt: skip


NO_EFFECT: dict[str, Asks] = {  # known fields that change nothing, and when that is worth saying
    "spaces_between_special_tokens": lambda raw: raw["spaces_between_special_tokens"] is False,
    "length_penalty": lambda raw: (
        raw["length_penalty"] not in (None, 1) and not raw.get("use_beam_search")
    ),
    **{name: _beside_beams(name) for name in SAMPLED},
    "skip_reading_prefix_cache": lambda raw: (  # beams live on what they share
        bool(raw["skip_reading_prefix_cache"]) and bool(raw.get("use_beam_search"))
    ),
    "max_tokens": lambda raw: (  # a chat's newer name wins
        "messages" in raw and None not in (raw["max_tokens"], raw.get("max_completion_tokens"))
    ),
    "logprobs": lambda raw: (  # of completions: how many likeliest
        type(raw["logprobs"]) is int and raw.get("logprob_token_ids") is not None
    ),
    "top_logprobs": lambda raw: (
        raw["top_logprobs"] is not None and raw.get("logprob_token_ids") is not None
    ),
    "user": lambda raw: raw["user"] is not None,
    "metadata": lambda raw: bool(raw["metadata"]),
    "truncation_side": lambda raw: (
        raw["truncation_side"] is not None and raw.get("truncate_prompt_tokens") is None
    ),
    "stream_interval": lambda raw: raw["stream_interval"] is not None and not raw.get("stream"),
    "return_tokens_as_token_ids": lambda raw: (
        bool(raw["return_tokens_as_token_ids"])
        and raw.get("logprobs") in (None, False)
        and raw.get("logprob_token_ids") is None
    ),
    "tool_choice": _without_tools("tool_choice"),
    "parallel_tool_calls": _without_tools("parallel_tool_calls"),
}

COMPLETION_KNOWN = frozenset(CompletionBody.model_fields) | refusals.COMPLETIONS.keys()
CHAT_KNOWN = frozenset(ChatBody.model_fields) | refusals.CHAT.keys()
_NESTED = (
    Message,
    TextPart,
    ToolCall,
    CalledFunction,
    ToolSpec,
    Function,
    StreamOptions,
    Detection,
    ResponseFormat,
    JsonSchemaFormat,
    StructuredFields,
)
FIELD_NAMES = frozenset().union(*map(names_of, (CompletionBody, ChatBody, *_NESTED)))
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
    if body.logprob_token_ids is not None and body.echo:
        raise InvalidRequest(
            "'logprob_token_ids' is of generated tokens; it cannot be used with echo.",
            param="logprob_token_ids",
        )
    _check_common(body)
    _check_form(body, caps)
    return body, ignored_names(raw, COMPLETION_KNOWN, CompletionBody)


def parse_chat(data: bytes, caps: ApiCaps) -> tuple[ChatBody, list[str]]:
    """The body and the names of fields nobody knows. Raises `InvalidRequest`."""
    return chat_of(parse_object(data), caps)


def chat_of(raw: dict[str, Any], caps: ApiCaps) -> tuple[ChatBody, list[str]]:
    """The same for JSON that was read already, as other APIs make it."""
    refusals.refuse_unsupported(raw, refusals.CHAT)
    for name, most in (("messages", caps.max_messages), ("tools", caps.max_tools)):
        if isinstance(raw.get(name), list):
            _at_most(name, len(raw[name]), most)
    body = _validate(ChatBody, raw)
    if body.tools:
        check_tools(body.tools, caps.max_schema_bytes)
    if body.must_call:
        _check_forced(body)
    if body.top_logprobs is not None:
        if not body.logprobs:
            raise InvalidRequest("'top_logprobs' needs logprobs: true.", param="top_logprobs")
        if not 0 <= body.top_logprobs <= 20:
            raise InvalidRequest("'top_logprobs' must be 0 to 20.", param="top_logprobs")
    if body.logprob_token_ids is not None and not body.logprobs:
        raise InvalidRequest("'logprob_token_ids' needs logprobs: true.", param="logprob_token_ids")
    if body.max_completion_tokens is not None and body.max_completion_tokens < 1:
        raise InvalidRequest(
            "'max_completion_tokens' must be at least 1.", param="max_completion_tokens"
        )
    if body.continue_final_message and "add_generation_prompt" in body.model_fields_set:
        _check_continues(body)
    _check_metadata(body.metadata)
    _check_common(body)
    _check_form(body, caps)
    return body, ignored_names(raw, CHAT_KNOWN, ChatBody)


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
    if body.truncate_prompt_tokens == 0:
        raise InvalidRequest(
            "'truncate_prompt_tokens' must be at least 1, or -1 for all that the model takes.",
            param="truncate_prompt_tokens",
        )
    if body.stream and body.use_beam_search:
        raise InvalidRequest("'use_beam_search' cannot be streamed.", param="use_beam_search")
    if body.stream and body.prompt_logprobs is not None:
        raise InvalidRequest("'prompt_logprobs' cannot be streamed.", param="prompt_logprobs")


def _check_form(body: GenerationBody, caps: ApiCaps) -> None:
    """What can be told of a schema or grammar without compiling it. Raises `InvalidRequest`."""
    if (form := body.form()) is not None:
        form.check(caps.sampling().structured)
        form.check_form()


def _check_forced(body: ChatBody) -> None:
    if not body.callable_tools:
        name = body.forced_name
        what = "needs 'tools'" if name is None else f"names {name[:64]!r}, which is not in 'tools'"
        raise InvalidRequest(f"'tool_choice' {what}.", param="tool_choice")


def _check_continues(body: ChatBody) -> None:
    if body.add_generation_prompt:
        raise InvalidRequest(
            "'continue_final_message' and 'add_generation_prompt' exclude each other: set "
            "add_generation_prompt to false.",
            param="continue_final_message",
        )


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


def ignored_names(
    raw: dict[str, Any], known: frozenset[str], kind: type[GenerationBody]
) -> list[str]:
    """Fields that change nothing, those inside of other fields with the path to them."""
    own = [n for n in raw if n not in known or (n in NO_EFFECT and NO_EFFECT[n](raw))]
    return shown_names([*own, *unknown_inside(raw, kind)])


def unknown_inside(raw: dict[str, Any], kind: type[Schema], path: str = "") -> Iterator[str]:
    """Fields that nobody knows inside of those that `kind` knows, with the path to them."""
    for name, schema in nested(kind).items():
        value = raw.get(name)
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                continue
            inside, known = f"{path}{name}.", names_of(schema)
            yield from (inside + key for key in one if key not in known and one[key])
            yield from unknown_inside(one, schema, inside)


def shown_names(names: Iterable[str]) -> list[str]:
    """Those that may stand in a header, and not too many of them."""
    shown = [
        n
        for n in dict.fromkeys(names)
        if n.isascii() and n.isprintable() and 0 < len(n) <= 64 and "," not in n
    ]
    return shown[:IGNORED_NAMES]
