"""Wrong and hostile requests to every route that reaches an engine, in classes.

Each must be answered 4xx, in the error shape of its route, naming the field where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.abuse import forms, words

MODEL = "{model}"  # replaced by the name of the model served
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Bad:
    """One request. `param` is the field that the answer has to name ("" = any or none)."""

    kind: str
    path: str
    data: bytes
    param: str = ""
    headers: tuple[tuple[str, str], ...] = tuple(JSON.items())
    method: str = "POST"
    key: str | None = "full"  # a name, another text, or None for no header

    def body_for(self, model: str) -> bytes:
        return self.data.replace(MODEL.encode(), model.encode())


TALK = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
BASES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": MODEL, "messages": TALK, "max_tokens": 4},
    "/v1/completions": {"model": MODEL, "prompt": "Hi", "max_tokens": 4},
    "/v1/responses": {"model": MODEL, "input": "Hi", "max_output_tokens": 4},
    "/v1/messages": {"model": MODEL, "messages": TALK, "max_tokens": 4},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": TALK},
    "/v1/embeddings": {"model": MODEL, "input": "Hi"},
    "/pooling": {"model": MODEL, "input": "Hi"},
    "/classify": {"model": MODEL, "input": "Hi"},
    "/score": {"model": MODEL, "queries": "Hi", "documents": ["Ho"]},
    "/rerank": {"model": MODEL, "query": "Hi", "documents": ["Ho"]},
    "/tokenize": {"model": MODEL, "prompt": "Hi"},
    "/detokenize": {"model": MODEL, "tokens": [1]},
    "/v1/load_lora_adapter": {"lora_name": "x", "lora_path": "/nowhere"},
    "/v1/unload_lora_adapter": {"lora_name": "x"},
}
ADAPTERS = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter")
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
GENERATE = (CHAT, COMPLETIONS)


@cache
def corpus() -> tuple[Bad, ...]:
    """All of them, the same ones each time."""
    return (*_every_route(), *_fields(), *_adapters())


def _every_route() -> Iterator[Bad]:
    for path, base in BASES.items():
        good = json.dumps(base).encode()
        for kind, data in words.bodies(good):
            yield Bad(kind, path, data)
        for kind, headers in words.header_sets():
            yield Bad(kind, path, good, headers=headers)
        yield Bad("wrong method", path, b"", method="PUT")
        yield Bad("no key", path, good, key=None)
        for key in words.KEYS if path in GENERATE else words.KEYS[:3]:
            yield Bad("wrong key", path, good, key=key)
        for name in base:
            without = {k: v for k, v in base.items() if k != name}
            if (path, name) not in forms.OPTIONAL:
                yield Bad("missing field", path, json.dumps(without).encode())
        if path not in ADAPTERS:
            yield from _models(path, base)


def _models(path: str, base: dict[str, Any]) -> Iterator[Bad]:
    for wrong in (7, True, [MODEL], {"name": MODEL}):
        yield Bad("model of a wrong type", path, _with(base, "model", wrong), "model")
    names = words.HOSTILE if path in GENERATE else words.HOSTILE[:4]
    for name in names:
        yield Bad("hostile model name", path, _with(base, "model", name), "model")


def _fields() -> Iterator[Bad]:
    for kind, paths, name, values in forms.FIELDS:
        for path in paths:
            for value in values:
                yield Bad(kind, path, _with(BASES[path], name, value), name)
    for kind, path, changes, param in forms.BODIES:
        yield Bad(kind, path, json.dumps(BASES[path] | changes).encode(), param)


def _adapters() -> Iterator[Bad]:
    load, unload = ADAPTERS
    for place in words.PLACES:
        yield Bad("adapter from a wrong place", load, _with(BASES[load], "lora_path", place))
    for name in words.HOSTILE:
        yield Bad("hostile adapter name", load, _with(BASES[load], "lora_name", name))
        yield Bad("hostile adapter name", unload, _with(BASES[unload], "lora_name", name))
    for path in ADAPTERS:
        for wrong in (7, None, [], {}):
            yield Bad("adapter name of a wrong type", path, _with(BASES[path], "lora_name", wrong))
        yield Bad("adapters without the scope", path, json.dumps(BASES[path]).encode(), key="plain")


def _with(base: dict[str, Any], name: str, value: Any) -> bytes:
    return json.dumps(base | {name: value}).encode()
