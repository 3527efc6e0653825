"""From a checked body to the `Admission` the transport takes: limits of context, cache and key."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from apps.api.caps import ApiCaps, ApiSettings
from apps.api.prompt import Prompt
from apps.api.schemas import ChatBody, GenerationBody, asked_name, asked_tokens
from apps.api.selectors import KeySnapshot, Price
from apps.models.catalog import CatalogModel
from engine.client import Admission
from engine.errors import ContextTooLong, InvalidRequest
from engine.messages import Bill, QueueBody
from engine.pooling.params import names_of
from engine.sampling_params import SamplingParams

LANE = "high"
TOKEN_LIMITS = ("tpm", "budget")
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who asks what of which model: the facts of one request that are known before admission."""

    rid: str
    route: str
    body: GenerationBody
    client_request_id: str
    ignored: tuple[str, ...] = ()


def sampling_for(body: GenerationBody, model: CatalogModel, caps: ApiCaps) -> SamplingParams:
    """Checked sampling fields. Raises `InvalidRequest` before anything is tokenised."""
    if model.pooling is not None:
        raise InvalidRequest(
            f"The model {model.name!r} does not generate text; it is for "
            f"{names_of(model.pooling.tasks)}.",
            param="model",
        )
    if body.priority and not model.by_priority:
        raise InvalidRequest(
            f"'priority' must be 0: {model.name!r} runs requests in order of arrival "
            "(--scheduling-policy priority changes that).",
            param="priority",
        )
    params = body.sampling(model.default_params)
    params.check(caps.sampling(), vocab_size=model.vocab_size or None)
    return params


def fit(
    params: SamplingParams, body: GenerationBody, prompts: list[Prompt], model: CatalogModel,
    key: KeySnapshot,
) -> None:  # fmt: skip
    """Settle `max_tokens`. Raises `ContextTooLong` (both numbers) for what can never fit."""
    param = "messages" if isinstance(body, ChatBody) else "prompt"
    longest = max(len(prompt.token_ids) for prompt in prompts)
    room = min(model.max_model_len, model.kv_tokens or model.max_model_len)
    least = 0 if params.max_tokens == 0 else 1
    if not all(prompt.token_ids for prompt in prompts):
        raise InvalidRequest("The prompt has no tokens; send at least one.", param=param)
    if longest + least > room:
        raise ContextTooLong(
            f"The prompt has {longest} tokens; {model.name} takes {room}, prompt and output "
            "together. Shorten the prompt.",
            param=param,
        )
    asked = asked_tokens(body)
    if asked is None:
        left = min(room - longest, _within_limits(key, model, prompts, params.n))
        params.max_tokens = left if params.max_tokens is None else min(params.max_tokens, left)
        params.min_tokens = min(params.min_tokens, params.max_tokens)
    elif longest + asked > room:
        name = asked_name(body)
        raise ContextTooLong(
            f"The prompt has {longest} tokens and {name} asks for {asked}: {longest + asked} "
            f"in all, and {model.name} takes {room}. Shorten the prompt or lower {name}.",
            param=param,
        )


def admission_for(
    call: Call, params: SamplingParams, prompts: list[Prompt], model: CatalogModel,
    key: KeySnapshot, *, catalog_epoch: int, price: Price, settings: ApiSettings,
) -> Admission:  # fmt: skip
    """The whole admission; `fit` must have settled `max_tokens`."""
    ids = [prompt.token_ids for prompt in prompts]
    bill = _bill(call, model, key, price)
    body = QueueBody(
        rid=call.rid,
        attempt=1,
        web="",
        model=model.base,
        prompts=ids,
        params=params,
        adapter=model.adapter_digest,
        priority=call.body.priority,
        salt=_salt(key, call.body.cache_salt),
        deadline_ms=int(settings.request_timeout_s * 1000),
    )
    num_in, num_out = sum(map(len, ids)), body.width * (params.max_tokens or 0)
    return Admission(
        body=body,
        lane=LANE,
        key_id=key.public_id,
        key_epoch=key.epoch,
        catalog_epoch=catalog_epoch,
        rules=key.rules + model.rules,
        reserve_tokens=num_in + num_out,
        reserve_micros=-(-(num_in * price.input_micros + num_out * price.output_micros) // MILLION),
        bill=bill,
        load_s=model.load_s,
    )


def _salt(key: KeySnapshot, own: str | None) -> bytes:
    """Who shares cached prefixes: the tenant, and with `cache_salt` only who sends the same."""
    if own is None:
        return key.salt
    return hmac.digest(key.salt, own.encode(), "sha256")


def _bill(call: Call, model: CatalogModel, key: KeySnapshot, price: Price) -> Bill:
    return Bill(
        key_id=key.public_id,
        key_name=key.name,
        owner_id=key.owner_id,
        owner_name=key.owner_name,
        model=model.base,
        adapter=model.name if model.adapter_digest else "",
        adapter_digest=model.adapter_digest or "",
        route=call.route,
        stream=call.body.stream,
        price_version=price.version,
        input_micros=price.input_micros,
        cached_micros=price.cached_micros,
        output_micros=price.output_micros,
        client_request_id=call.client_request_id,
    )


def _within_limits(key: KeySnapshot, model: CatalogModel, prompts: list[Prompt], n: int) -> int:
    """Output tokens per choice that the smallest limit of tokens could ever admit."""
    limits = [rule.limit for rule in key.rules + model.rules if rule.kind in TOKEN_LIMITS]
    if not limits:
        return 10**15
    spare = min(limits) - sum(len(prompt.token_ids) for prompt in prompts)
    return max(1, spare // (len(prompts) * n))
