"""What a web process knows of the served models: an immutable snapshot with an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All models that are ready (or load on demand), base models first."""

    epoch: int
    models: dict[str, CatalogModel]
