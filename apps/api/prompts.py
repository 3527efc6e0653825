"""Prompts → token ids: chat templates and tokenisers, in a bounded pool of threads.

Needs `tokenizers` and Jinja only; torch is never imported here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from apps.api.caps import ApiSettings
from apps.api.model_texts import MAX_TOKENIZERS, ModelText, model_text
from apps.api.prompt import Prompt
from apps.api.rendering import conversation_prompt, most_chars
from apps.api.schemas import ChatBody, CompletionBody, GenerationBody, asked_tokens
from apps.models.catalog import CatalogModel, TextOptions
from engine.errors import ContextTooLong, EngineStartError, InvalidRequest, Overloaded
from engine.tokenizer import Tokenizer

T = TypeVar("T")

INLINE_CHARS = 4096  # a hop to a thread and back costs more than tokenising so little


class PromptPool:
    """Keeps tokenisers in memory and runs them beside the event loop."""

    def __init__(self, settings: ApiSettings) -> None:
        self._pool = ThreadPoolExecutor(settings.prompt_threads, thread_name_prefix="pagoda-text")
        # a caller's template may take its whole time: nobody else waits for it
        self._strangers = ThreadPoolExecutor(1, thread_name_prefix="pagoda-templates")
        self._most_waiting = settings.max_waiting_prompts
        self._waiting = 0
        self._texts: OrderedDict[tuple[Path, TextOptions], ModelText] = OrderedDict()

    async def run(self, function: Callable[[], T], pool: ThreadPoolExecutor | None = None) -> T:
        """Run in a thread. Raises `Overloaded` (reason `prompts`) when too many already wait."""
        if self._waiting >= self._most_waiting:
            raise Overloaded(
                "Too many prompts wait to be read. Try again shortly.",
                param="prompts",
                retry_after_s=1,
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool or self._pool, function)
        finally:
            self._waiting -= 1

    async def near(self, size_chars: int, function: Callable[[], T]) -> T:
        """Run here when the work is small, else in a thread."""
        return function() if size_chars <= INLINE_CHARS else await self.run(function)

    async def text_of(self, model: CatalogModel) -> ModelText:
        """Tokeniser and template of a model. Raises `Overloaded` if its files cannot be read."""
        found = self._texts.get((model.path, model.text))
        if found is not None:
            return found
        try:
            loaded = await self.run(partial(model_text, model.path, model.text))
        except EngineStartError:
            raise Overloaded(
                f"The tokenizer of {model.name!r} cannot be read on this server.",
                param="tokenizer",
                retry_after_s=30,
            ) from None
        self._texts[(model.path, model.text)] = loaded
        while len(self._texts) > MAX_TOKENIZERS:
            self._texts.popitem(last=False)
        return loaded

    async def completion(self, body: CompletionBody, model: CatalogModel) -> list[Prompt]:
        text = await self.text_of(model)
        texts = body.texts()
        if texts is None:
            size = sum(map(len, body.token_lists())) if body.echo else 0  # only echo decodes them
            work = partial(_given_ids, body, model, text.tokenizer)
        else:
            _check_chars(texts, body, model)
            size = sum(map(len, texts))
            work = partial(_encode_all, text.tokenizer, texts, body.add_special_tokens, body.echo)
        return _cut(await self.near(size, work), body, model, text.tokenizer)

    async def chat(self, body: ChatBody, model: CatalogModel) -> list[Prompt]:
        text = await self.text_of(model)
        # a template may take its whole time, so this is never done on the event loop
        pool = self._pool if body.chat_template is None else self._strangers
        prompt = await self.run(partial(conversation_prompt, text, body, model), pool)
        return _cut([prompt], body, model, text.tokenizer)

    def close(self) -> None:
        for pool in (self._pool, self._strangers):
            pool.shutdown(wait=False, cancel_futures=True)


def _cut(
    prompts: list[Prompt], body: GenerationBody, model: CatalogModel, tokenizer: Tokenizer
) -> list[Prompt]:
    """`truncate_prompt_tokens`: keep so many; -1 keeps what leaves the model room for one more."""
    if body.truncate_prompt_tokens is None:
        return prompts
    most = body.truncate_prompt_tokens
    if most == -1:
        room = min(model.max_model_len, model.kv_tokens or model.max_model_len)
        most = room - (asked_tokens(body) or 1)
    return [
        prompt.cut(max(1, most), body.truncation_side or "left", tokenizer) for prompt in prompts
    ]


def _check_chars(texts: list[str], body: CompletionBody, model: CatalogModel) -> None:
    """Raises `ContextTooLong` for what cannot fit, before it costs the time to tokenise it."""
    longest = max(map(len, texts))
    if longest > most_chars(body, model):
        raise ContextTooLong(
            f"The prompt has {longest} characters; {model.name} takes {model.max_model_len} "
            "tokens, prompt and output together. Shorten the prompt.",
            param="prompt",
        )


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
