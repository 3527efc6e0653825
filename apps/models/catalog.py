"""What a web process knows of the served models: an immutable snapshot with an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from engine.client import LimitRule
from engine.pooling.card import PoolingCard


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How a model's text is read and written; names and meaning as in `EngineConfig`."""

    chat_template: str | None = None
    chat_template_content_format: str = "auto"
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    enable_auto_tool_choice: bool = True
    trust_request_chat_template: bool = False
    return_tokens_as_token_ids: bool = False
    stream_interval: int = 1


PLAIN_TEXT = TextOptions()
TEXT_OPTIONS = tuple(option.name for option in fields(TextOptions))


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogModel:
    """One name a client may ask for. `path` holds tokenizer and config files."""

    name: str
    base: str  # name of the queue; equal to `name` for a base model
    root: str
    parent: str | None = None
    path: Path
    created: int  # Unix seconds
    max_model_len: int
    vocab_size: int
    adapter_digest: str | None = None
    default_params: dict[str, float | int] = field(default_factory=dict)  # generation_config.json
    kv_tokens: int = 0  # capacity of one engine's KV cache in tokens
    load_s: float = 0.0  # how long the last load took
    text: TextOptions = PLAIN_TEXT
    pooling: PoolingCard | None = None  # None: it generates
    rules: tuple[LimitRule, ...] = ()  # limits of the model, whoever asks
    by_priority: bool = False  # the engine orders waiting requests by their `priority`


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All models that are ready (or load on demand), base models first."""

    epoch: int
    models: dict[str, CatalogModel]
