"""Inputs of the pooling routes → token ids that fit the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from apps.api.pooling_bodies import InputBody, PoolingBody, RerankBody, ScoreBody
from apps.api.prompt import Prompt
from apps.api.prompts import PromptPool
from apps.models.catalog import CatalogModel
from engine.errors import ContextTooLong, InvalidRequest
from engine.pooling.card import PoolingCard
from engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class PoolingPrompt:
    """One prompt; `second_at` as in `PoolingParams`."""

    token_ids: list[int]
    second_at: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a document for a cross-encoder, and bounds for each of them."""

    query: str
    document: str
    most_query: int | None = None
    most_document: int | None = None


async def of_input(
    pool: PromptPool, body: InputBody, model: CatalogModel, card: PoolingCard
) -> list[PoolingPrompt]:
    """Raises `InvalidRequest` for ids outside the vocabulary and prompts that are too long."""
    tokenizer = (await pool.text_of(model)).tokenizer
    most = _most(body, model)
    if body.chat is not None:
        prompts = await pool.chat(body.chat, model)
        found = [PoolingPrompt(_cut(prompt, most, body, tokenizer)) for prompt in prompts]
        return _fitting(found, model, "messages")
    given = body.input
    assert given is not None
    texts = [given] if isinstance(given, str) else [t for t in given if isinstance(t, str)]
    if texts:
        work = partial(_encode, tokenizer, texts, body, most, card)
        return _fitting(await pool.near(sum(map(len, texts)), work), model, "input")
    lists: list[Any] = [given] if isinstance(given[0], int) else list(given)
    ids = [_known(one, model) for one in lists]
    found = [PoolingPrompt(_cut(Prompt(one), most, body, tokenizer)) for one in ids]
    return _fitting(found, model, "input")


async def of_texts(
    pool: PromptPool, texts: list[str], most_each: int | None, body: PoolingBody,
    model: CatalogModel, card: PoolingCard, *, name: str,
) -> list[PoolingPrompt]:  # fmt: skip
    """Texts by themselves; refusals call them `name`."""
    tokenizer = (await pool.text_of(model)).tokenizer
    work = partial(_encode_bounded, tokenizer, texts, most_each, body, _most(body, model), card)
    return _fitting(await pool.near(sum(map(len, texts)), work), model, name)


async def of_pairs(
    pool: PromptPool, pairs: list[Pair], body: ScoreBody | RerankBody, model: CatalogModel,
    card: PoolingCard,
) -> list[PoolingPrompt]:  # fmt: skip
    """Each pair is one prompt."""
    tokenizer = (await pool.text_of(model)).tokenizer
    work = partial(_encode_pairs, tokenizer, pairs, body, _most(body, model), card)
    size = sum(len(pair.query) + len(pair.document) for pair in pairs)
    return _fitting(await pool.near(size, work), model, body.side_names[1])


def _encode(
    tokenizer: Tokenizer, texts: list[str], body: InputBody, most: int | None, card: PoolingCard
) -> list[PoolingPrompt]:
    return [
        PoolingPrompt(
            tokenizer.encode_cut(
                card.cased(text),
                most=most,
                side=body.truncation_side,
                add_special_tokens=body.add_special_tokens is not False,
            )[0]
        )
        for text in texts
    ]


def _encode_bounded(
    tokenizer: Tokenizer, texts: list[str], most_each: int | None, body: PoolingBody,
    most: int | None, card: PoolingCard,
) -> list[PoolingPrompt]:  # fmt: skip
    side = body.truncation_side
    return [
        PoolingPrompt(
            tokenizer.encode_cut(
                card.cased(text), most=most, most_each=(most_each, None), side=side
            )[0]
        )
        for text in texts
    ]


def _encode_pairs(
    tokenizer: Tokenizer, pairs: list[Pair], body: PoolingBody, most: int | None, card: PoolingCard
) -> list[PoolingPrompt]:
    return [
        PoolingPrompt(
            *tokenizer.encode_cut(
                card.cased(pair.query),
                card.cased(pair.document),
                most=most,
                most_each=(pair.most_query, pair.most_document),
                side=body.truncation_side,
            )
        )
        for pair in pairs
    ]


def _most(body: PoolingBody, model: CatalogModel) -> int | None:
    most = body.truncate_prompt_tokens
    return model.max_model_len if most == -1 else most


def _cut(prompt: Prompt, most: int | None, body: PoolingBody, tokenizer: Tokenizer) -> list[int]:
    return prompt.token_ids if most is None else prompt.cut(
        most, body.truncation_side, tokenizer
    ).token_ids  # fmt: skip


def _known(ids: list[int], model: CatalogModel) -> list[int]:
    if ids and not (min(ids) >= 0 and max(ids) < model.vocab_size):
        raise InvalidRequest(
            f"'input' holds a token id outside the vocabulary (0 to {model.vocab_size - 1}).",
            param="input",
        )
    return ids


def _fitting(found: list[PoolingPrompt], model: CatalogModel, param: str) -> list[PoolingPrompt]:
    for i, prompt in enumerate(found):
        if not prompt.token_ids:
            raise InvalidRequest(f"Entry {i} of '{param}' has no tokens.", param=param)
        if len(prompt.token_ids) > model.max_model_len:
            raise ContextTooLong(
                f"Entry {i} of '{param}' has {len(prompt.token_ids)} tokens and {model.name} takes "
                f"{model.max_model_len}. Shorten it, or send truncate_prompt_tokens: -1.",
                param=param,
            )
    return found
