"""Prompts → token ids: chat templates and tokenisers, in a bounded pool of threads.

Needs `tokenizers` and Jinja only; torch is never imported here.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from apps.api.caps import ApiSettings
from apps.api.schemas import ChatBody, CompletionBody
from apps.models.catalog import CatalogModel
from engine.chat_template import ChatTemplate
from engine.errors import EngineStartError, InvalidRequest, Overloaded
from engine.tokenizer import Tokenizer

T = TypeVar("T")

MAX_TOKENIZERS = 64
INLINE_CHARS = 4096  # a hop to a thread and back costs more than tokenising so little
RESERVED_NAMES = frozenset(
    {"messages", "tools", "add_generation_prompt", "continue_final_message", "self"}
)


@dataclass(frozen=True, slots=True)
class ModelText:
    """What turns text into ids and back for one checkpoint directory."""

    tokenizer: Tokenizer
    template: ChatTemplate | None
    template_source: str


@lru_cache(maxsize=MAX_TOKENIZERS)
def model_text(path: Path) -> ModelText:
    """Read a checkpoint's text files, once. Raises `EngineStartError` if they are broken."""
    tokenizer = Tokenizer.load(path)
    source = tokenizer.chat_template
    template = ChatTemplate(source, tokenizer.special_tokens) if source else None
    return ModelText(tokenizer, template, source or "")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the engine takes it. `text` is kept only where the answer echoes it."""

    token_ids: list[int]
    text: str | None = None


class PromptPool:
    """Keeps tokenisers in memory and runs them beside the event loop."""

    def __init__(self, settings: ApiSettings) -> None:
        self._pool = ThreadPoolExecutor(settings.prompt_threads, thread_name_prefix="pagoda-text")
        self._most_waiting = settings.max_waiting_prompts
        self._waiting = 0
        self._texts: OrderedDict[Path, ModelText] = OrderedDict()

    async def run(self, function: Callable[[], T]) -> T:
        """Run in a thread. Raises `Overloaded` (reason `prompts`) when too many already wait."""
        if self._waiting >= self._most_waiting:
            raise Overloaded(
                "Too many prompts wait to be read. Try again shortly.",
                param="prompts",
                retry_after_s=1,
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function)
        finally:
            self._waiting -= 1

    async def near(self, size_chars: int, function: Callable[[], T]) -> T:
        """Run here when the work is small, else in a thread."""
        return function() if size_chars <= INLINE_CHARS else await self.run(function)

    async def text_of(self, model: CatalogModel) -> ModelText:
        """Tokeniser and template of a model. Raises `Overloaded` if its files cannot be read."""
        found = self._texts.get(model.path)
        if found is not None:
            return found
        try:
            loaded = await self.run(partial(model_text, model.path))
        except EngineStartError:
            raise Overloaded(
                f"The tokenizer of {model.name!r} cannot be read on this server.",
                param="tokenizer",
                retry_after_s=30,
            ) from None
        self._texts[model.path] = loaded
        while len(self._texts) > MAX_TOKENIZERS:
            self._texts.popitem(last=False)
        return loaded

    async def completion(self, body: CompletionBody, model: CatalogModel) -> list[Prompt]:
        text = await self.text_of(model)
        texts = body.texts()
        if texts is None:
            return _given_ids(body, model, text.tokenizer)
        work = partial(_encode_all, text.tokenizer, texts, body.add_special_tokens, body.echo)
        return await self.near(sum(map(len, texts)), work)

    async def chat(self, body: ChatBody, model: CatalogModel) -> list[Prompt]:
        text = await self.text_of(model)
        messages = [message.for_template() for message in body.messages]
        size = sum(len(message["content"]) for message in messages)
        return [await self.near(size, partial(render_chat, text, messages, body, model))]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def render_chat(
    text: ModelText, messages: list[dict[str, Any]], body: ChatBody, model: CatalogModel
) -> Prompt:
    """Template, then tokeniser. Raises `InvalidRequest` naming what the template refused."""
    if text.template is None:
        raise InvalidRequest(
            f"The model {model.name!r} has no chat template; use /v1/completions.", param="model"
        )
    rendered = text.template.render(
        messages,
        add_generation_prompt=body.add_generation_prompt and not body.continue_final_message,
        continue_final_message=body.continue_final_message,
        **template_kwargs(body.chat_template_kwargs, text.template_source),
    )
    most = 4 * model.max_model_len * 8  # characters: more cannot fit the context in any language
    if len(rendered) > max(most, 1 << 16):
        raise InvalidRequest("The messages are far longer than the context.", param="messages")
    return Prompt(text.tokenizer.encode(rendered, add_special_tokens=body.add_special_tokens))


def template_kwargs(given: dict[str, Any], source: str) -> dict[str, Any]:
    """Only names that the model's own template reads may be set. Raises `InvalidRequest`."""
    for name in given:
        readable = name.isidentifier() and name not in RESERVED_NAMES and not name.startswith("_")
        if not readable or not re.search(rf"\b{name}\b", source):
            raise InvalidRequest(
                f"'chat_template_kwargs' holds {name[:64]!r}, which the model's template "
                "does not read.",
                param="chat_template_kwargs",
            )
    return given


def _encode_all(
    tokenizer: Tokenizer, texts: list[str], add_special_tokens: bool, keep: bool
) -> list[Prompt]:
    return [
        Prompt(tokenizer.encode(t, add_special_tokens=add_special_tokens), t if keep else None)
        for t in texts
    ]


def _given_ids(body: CompletionBody, model: CatalogModel, tokenizer: Tokenizer) -> list[Prompt]:
    """Token ids from the caller. Raises `InvalidRequest` for one outside the vocabulary."""
    prompts = []
    limit = model.vocab_size or tokenizer.vocab_size
    for ids in body.token_lists():
        if ids and not (min(ids) >= 0 and max(ids) < limit):
            raise InvalidRequest(
                f"'prompt' holds a token id outside the vocabulary (0 to {limit - 1}).",
                param="prompt",
            )
        prompts.append(Prompt(ids, tokenizer.decode(ids) if body.echo else None))
    return prompts
