"""The forms in which library users give prompts, brought to text and token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from engine.chat_template import ChatTemplate
from engine.errors import InvalidRequest
from engine.tokenizer import Tokenizer

Prompt: TypeAlias = str | Sequence[int] | Mapping[str, Any]
Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A prompt as the engine takes it. `text` is None when only ids were given."""

    text: str | None
    token_ids: list[int]


def as_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One prompt or many → many. A list of whole numbers is one prompt. Raises `InvalidRequest`."""
    if isinstance(prompts, str | Mapping):
        return [prompts]
    if not isinstance(prompts, Iterable):
        raise _unknown_form(prompts)
    items: list[Any] = list(prompts)
    return [items] if items and all(map(_is_id, items)) else items


def tokenise(prompt: Prompt, tokenizer: Tokenizer | None) -> TokenPrompt:
    """Raises `InvalidRequest` for a form we do not know."""
    if isinstance(prompt, str):
        return TokenPrompt(prompt, _encode(prompt, tokenizer))
    if isinstance(prompt, Mapping):
        return _from_mapping(prompt, tokenizer)
    if isinstance(prompt, Iterable) and all(_is_id(item) for item in prompt):
        return TokenPrompt(None, [int(item) for item in prompt])
    raise _unknown_form(prompt)


def _unknown_form(prompt: object) -> InvalidRequest:
    return InvalidRequest(
        f"A prompt must be text, a list of token ids or a dict with 'prompt' or "
        f"'prompt_token_ids', not {type(prompt).__name__}.",
        param="prompt",
    )


def render_chat(
    messages: list[Message], tokenizer: Tokenizer, source: str | None, **options: Any
) -> TokenPrompt:
    """Conversation → prompt through `source` or the model's own template, which adds the BOS."""
    template = source if source is not None else tokenizer.chat_template
    if template is None:
        raise InvalidRequest("This model has no chat template: pass chat_template=….")
    text = ChatTemplate(template, tokenizer.special_tokens).render(messages, **options)
    return TokenPrompt(text, tokenizer.encode(text, add_special_tokens=False))


def load_chat_template(chat_template: str | None) -> str | None:
    """A template given as text or as the path of a file."""
    if chat_template is None or "{" in chat_template or "\n" in chat_template:
        return chat_template
    path = Path(chat_template)
    if not path.is_file():
        raise InvalidRequest(f"chat_template {chat_template!r} is neither Jinja nor a file.")
    return path.read_text(encoding="utf-8")


def _from_mapping(prompt: Mapping[str, Any], tokenizer: Tokenizer | None) -> TokenPrompt:
    text, ids = prompt.get("prompt"), prompt.get("prompt_token_ids")
    unknown = prompt.keys() - {"prompt", "prompt_token_ids"}
    if unknown or (text is None and ids is None):
        raise InvalidRequest(
            "A prompt dict has 'prompt' or 'prompt_token_ids' and nothing else"
            + (f"; found {', '.join(sorted(unknown))}." if unknown else "."),
            param="prompt",
        )
    if ids is None:
        return TokenPrompt(str(text), _encode(str(text), tokenizer))
    return TokenPrompt(text, tokenise(ids, tokenizer).token_ids)


def _encode(text: str, tokenizer: Tokenizer | None) -> list[int]:
    if tokenizer is None:
        raise InvalidRequest("This engine runs without a tokenizer: pass token ids.")
    return tokenizer.encode(text)


def _is_id(item: Any) -> bool:
    return hasattr(item, "__index__") and not isinstance(item, bool)
