"""Fields we know and do not serve: never read and forgotten, but refused with advice.

A value that asks for nothing (`[]`, `false`, the default) passes, because clients send those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import InvalidRequest

Asks = Callable[[Any], bool]


def _truthy(value: Any) -> bool:
    return bool(value)


def _unless(*neutral: Any) -> Asks:
    return lambda value: not any(type(value) is type(n) and value == n for n in neutral)


def _always(_value: Any) -> bool:
    return True


_NO_CODE = "is not accepted: requests carry no code and no tensors"
_OLD_TOOLS = "is the older form; use tools and tool_choice"

_BOTH: dict[str, tuple[Asks, str]] = {
    "logits_processors": (_always, _NO_CODE),
    "prompt_embeds": (_always, _NO_CODE),
    "best_of": (_always, "is not supported; use n and choose among the answers"),
    "detokenize": (_unless(True), "must be true: answers are text"),
}
COMPLETIONS: dict[str, tuple[Asks, str]] = {
    **_BOTH,
    "thinking_token_budget": (_always, "is for chats; use /v1/chat/completions"),
    "suffix": (_unless(""), "needs a model that fills in the middle"),
}
CHAT: dict[str, tuple[Asks, str]] = {
    **_BOTH,
    "functions": (_truthy, _OLD_TOOLS),
    "function_call": (_unless("none", "auto"), _OLD_TOOLS),
    "modalities": (_unless(["text"]), "must be ['text']"),
    "audio": (_always, "is not supported: answers are text"),
    "prediction": (_always, "is not supported"),
    "web_search_options": (_always, "is not supported"),
    "mm_processor_kwargs": (_truthy, "needs a model that takes images or audio"),
    "media_io_kwargs": (_truthy, "needs a model that takes images or audio"),
}


def refuse_unsupported(raw: dict[str, Any], table: dict[str, tuple[Asks, str]]) -> None:
    """Raise `InvalidRequest` for the first field that asks for what we do not do."""
    for name in raw.keys() & table.keys():
        asks, advice = table[name]
        if raw[name] is not None and asks(raw[name]):
            raise InvalidRequest(f"'{name}' {advice}.", param=name)
