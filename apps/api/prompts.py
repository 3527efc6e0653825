"""Prompts → token ids: chat templates and tokenisers, in a bounded pool of threads.

Needs `tokenizers` and Jinja only; torch is never imported here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from apps.api.caps import ApiSettings
from apps.api.chat_messages import PLAIN_FORM, CallForm
from apps.api.parsers import ParserChoice, parsers_for
from apps.api.schemas import ChatBody, CompletionBody
from apps.api.template_traits import call_form_of, model_type_of, words_of
from apps.models.catalog import CatalogModel
from engine.chat_template import ChatTemplate
from engine.errors import EngineStartError, InvalidRequest, Overloaded
from engine.tokenizer import Tokenizer

T = TypeVar("T")

MAX_TOKENIZERS = 64
INLINE_CHARS = 4096  # a hop to a thread and back costs more than tokenising so little
TAIL_CHARS = 256  # of a rendered prompt; reasoning parsers look for a marker at its end
RESERVED_NAMES = frozenset(
    {"messages", "tools", "add_generation_prompt", "continue_final_message", "self"}
)
THINKING_SWITCHES = ("enable_thinking", "thinking")  # names that templates use


@dataclass(frozen=True, slots=True)
class ModelText:
    """What turns text into ids and back for one checkpoint directory."""

    tokenizer: Tokenizer
    template: ChatTemplate | None
    template_words: frozenset[str]
    parsers: ParserChoice
    call_form: CallForm
    special_ids: dict[str, int]  # special tokens by their text

    def ids_of(self, specials: frozenset[str]) -> frozenset[int]:
        """Those of the texts that are special tokens of this model, as ids."""
        return frozenset(self.special_ids[text] for text in specials & self.special_ids.keys())


@lru_cache(maxsize=MAX_TOKENIZERS)
def model_text(path: Path) -> ModelText:
    """Read a checkpoint's text files, once. Raises `EngineStartError` if they are broken."""
    tokenizer = Tokenizer.load(path)
    source = tokenizer.chat_template
    template = ChatTemplate(source, tokenizer.special_tokens) if source else None
    return ModelText(
        tokenizer,
        template,
        words_of(source or ""),
        parsers_for(model_type_of(path), source),
        call_form_of(template) if template else PLAIN_FORM,
        {text: i for i in tokenizer.special_ids if (text := tokenizer.piece(i)) is not None},
    )


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the engine takes it. `text` is kept only where the answer echoes it."""

    token_ids: list[int]
    text: str | None = None
    tail: str = ""  # the end of a rendered conversation


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
            size = sum(map(len, body.token_lists())) if body.echo else 0  # only echo decodes them
            return await self.near(size, partial(_given_ids, body, model, text.tokenizer))
        work = partial(_encode_all, text.tokenizer, texts, body.add_special_tokens, body.echo)
        return await self.near(sum(map(len, texts)), work)

    async def chat(self, body: ChatBody, model: CatalogModel) -> list[Prompt]:
        text = await self.text_of(model)
        size = sum(message.chars for message in body.messages)
        if body.offered:
            size += INLINE_CHARS  # tools are long: rather in a thread than measured here
        return [await self.near(size, partial(_conversation, text, body, model))]

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
    offered = body.offered
    if offered and text.parsers.tool is None:
        raise InvalidRequest(
            f"The model {model.name!r} cannot call tools: its chat template has no form of calls "
            "that is known here. Leave 'tools' out.",
            param="tools",
        )
    rendered = text.template.render(
        messages,
        tools=[tool.for_template() for tool in offered] or None,
        add_generation_prompt=body.add_generation_prompt and not body.continue_final_message,
        continue_final_message=body.continue_final_message,
        **template_kwargs(body, text.template_words),
    )
    most = 4 * model.max_model_len * 8  # characters: more cannot fit the context in any language
    if len(rendered) > max(most, 1 << 16):
        raise InvalidRequest("The messages are far longer than the context.", param="messages")
    ids = text.tokenizer.encode(rendered, add_special_tokens=body.add_special_tokens)
    return Prompt(ids, tail=rendered[-TAIL_CHARS:])


def template_kwargs(body: ChatBody, words: frozenset[str]) -> dict[str, Any]:
    """Values for the template: only names that it reads. Raises `InvalidRequest`."""
    given = body.chat_template_kwargs
    for name in given:
        if name in RESERVED_NAMES or name.startswith("_") or name not in words:
            raise InvalidRequest(
                f"'chat_template_kwargs' holds {name[:64]!r}, which the model's template "
                "does not read.",
                param="chat_template_kwargs",
            )
    return given if body.reasoning_effort is None else _effort(body.reasoning_effort, words) | given


def _effort(effort: str, words: frozenset[str]) -> dict[str, Any]:
    """A template without degrees of effort but with a switch gets the switch."""
    if "reasoning_effort" in words:
        return {"reasoning_effort": effort}
    for switch in THINKING_SWITCHES:
        if switch in words:
            return {switch: effort != "none"}
    raise InvalidRequest(
        "'reasoning_effort' has no meaning for this model: its chat template does not read it.",
        param="reasoning_effort",
    )


def _conversation(text: ModelText, body: ChatBody, model: CatalogModel) -> Prompt:
    messages = [message.for_template(text.call_form) for message in body.messages]
    return render_chat(text, messages, body, model)


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
