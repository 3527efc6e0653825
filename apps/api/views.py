"""The /v1 routes that need no engine: model cards, tokenise, version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.config import api_caps
from apps.api.drf import KeyView, parsed, tell_ignored
from apps.api.model_texts import ModelText, model_text
from apps.api.parse import chat_of
from apps.api.rendering import conversation_prompt
from apps.api.selectors import KeySnapshot
from apps.api.token_bodies import DetokenizeBody, TokenizeBody
from apps.models.catalog import CatalogModel
from apps.models.selectors import catalog_read
from engine.errors import EngineStartError, InvalidRequest, ModelNotFound, Overloaded

OF_MESSAGES = (  # fields of /tokenize that say nothing of a prompt
    "messages", "add_generation_prompt", "continue_final_message", "chat_template_kwargs", "tools",
)  # fmt: skip


class ModelList(KeyView):
    """GET /v1/models: base models first, then adapters; only what the key may use."""

    scope = "inference"

    def get(self, request: Request) -> Response:
        cards = [card(model) for model in models_of(self.key)]
        return Response({"object": "list", "data": cards})


class ModelCard(KeyView):
    """GET /v1/models/{id}."""

    scope = "inference"

    def get(self, request: Request, name: str) -> Response:
        return Response(card(model_for_key(self.key, name)))


class Tokenize(KeyView):
    """POST /tokenize: a prompt or messages → token ids."""

    scope = "inference"

    def post(self, request: Request) -> Response:
        body = parsed(TokenizeBody, request)
        model = model_for_key(self.key, body.model)
        text = text_of(model)
        ids, ignored = _ids(body, dict(request.data), model, text)
        tell_ignored(request, ignored)
        found: dict[str, Any] = {
            "tokens": ids,
            "count": len(ids),
            "max_model_len": model.max_model_len,
        }
        if body.return_token_strs:
            found["token_strs"] = [text.tokenizer.token_text(token) for token in ids]
        return Response(found)


class Detokenize(KeyView):
    """POST /detokenize: token ids → text, special tokens included."""

    scope = "inference"

    def post(self, request: Request) -> Response:
        body = parsed(DetokenizeBody, request)
        model = model_for_key(self.key, body.model)
        tokenizer = text_of(model).tokenizer
        limit = model.vocab_size or tokenizer.vocab_size
        if body.tokens and not (min(body.tokens) >= 0 and max(body.tokens) < limit):
            raise InvalidRequest(
                f"'tokens' holds an id outside the vocabulary (0 to {limit - 1}).", param="tokens"
            )
        return Response({"prompt": tokenizer.decode(body.tokens, skip_special_tokens=False)})


class Version(KeyView):
    """GET /version: public."""

    authentication_classes = []
    permission_classes = []

    def get(self, request: Request) -> Response:
        return Response({"version": product_version()})


def product_version() -> str:
    try:
        return version("pagoda")
    except PackageNotFoundError:
        return "unknown"  # run from a tree that was never installed


def models_of(key: KeySnapshot) -> list[CatalogModel]:
    """Two SQL queries."""
    return [model for model in catalog_read().models.values() if key.may_use(model.name)]


def model_for_key(key: KeySnapshot, name: str | None) -> CatalogModel:
    """The named model; without a name the only one there is. Raises `ModelNotFound`."""
    visible = models_of(key)
    if name is None and len({model.base for model in visible}) == 1:
        return visible[0]
    for model in visible:
        if model.name == name:
            return model
    if name is None:
        raise InvalidRequest("'model' is required: several models are served.", param="model")
    raise ModelNotFound(f"The model {name[:200]!r} does not exist.", param="model")


def text_of(model: CatalogModel) -> ModelText:
    try:
        return model_text(model.path, model.text)
    except EngineStartError:
        raise Overloaded(
            f"The tokenizer of {model.name!r} cannot be read on this server.",
            param="tokenizer",
            retry_after_s=30,
        ) from None


def card(model: CatalogModel) -> dict[str, Any]:
    """A model card. `root` is a hub id or a digest, never a path of this server."""
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "pagoda",
        "root": model.base if model.root.startswith(("/", ".", "~")) else model.root,
        "parent": model.parent,
        "max_model_len": model.max_model_len,
    }


def _ids(
    body: TokenizeBody, raw: dict[str, Any], model: CatalogModel, text: ModelText
) -> tuple[list[int], list[str]]:
    """And names of fields without effect. A conversation is read as a chat reads it."""
    given = {name: raw[name] for name in OF_MESSAGES if raw.get(name) is not None}
    if (body.prompt is None) == (body.messages is None):
        raise InvalidRequest("Give either 'prompt' or 'messages'.", param="prompt")
    if body.prompt is not None:
        add = body.add_special_tokens is not False  # a plain prompt gets them by default
        return text.tokenizer.encode(body.prompt, add_special_tokens=add), list(given)
    chat, ignored = chat_of(
        {"model": model.name, "add_special_tokens": body.add_special_tokens, **given}, api_caps()
    )
    return conversation_prompt(text, chat, model).token_ids, ignored
