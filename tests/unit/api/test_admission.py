"""What fits a model, its cache and a key."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api.admission import Call, admission_for, fit, sampling_for
from apps.api.caps import ApiCaps, ApiSettings
from apps.api.models import PriceVersion
from apps.api.prompt import Prompt
from apps.api.schemas import ChatBody, CompletionBody
from apps.api.selectors import Price, PriceList
from engine.client import LimitRule
from engine.errors import ContextTooLong, InvalidRequest
from engine.sampling_params import SamplingParams
from tests.unit.api.samples import key, letters, model

TPM = (LimitRule(kind="tpm", subject="key:abcdefgh", limit=50),)


def completion(**fields: Any) -> CompletionBody:
    return CompletionBody(model="tiny", prompt="x", **fields)


def chat(**fields: Any) -> ChatBody:
    return ChatBody(model="tiny", messages=[{"role": "user", "content": "x"}], **fields)  # type: ignore[list-item]


def settled(body: Any, tokens: int, **changes: Any) -> SamplingParams:
    params: SamplingParams = body.sampling({})
    rules = changes.pop("rules", ())
    fit(params, body, [Prompt([1] * tokens)], model(**changes), key(rules=rules))
    return params


def test_prompt_and_output_may_fill_the_context_exactly() -> None:
    assert settled(completion(max_tokens=60), 40).max_tokens == 60
    with pytest.raises(ContextTooLong, match=r"41 tokens .* 60.* 101 .* 100"):
        settled(completion(max_tokens=60), 41)


@pytest.mark.parametrize(("body", "param"), [(completion(), "prompt"), (chat(), "messages")])
def test_a_prompt_over_the_context_names_both_numbers(body: Any, param: str) -> None:
    with pytest.raises(ContextTooLong, match=r"100 tokens.* 100") as caught:
        settled(body, 100)
    assert caught.value.param == param


def test_defaults_shrink_to_what_is_left() -> None:
    assert settled(completion(), 95).max_tokens == 5
    assert settled(chat(), 95).max_tokens == 5
    assert settled(completion(), 10).max_tokens == 16


@pytest.mark.parametrize(("side", "kept"), [("left", [3, 4]), ("right", [1, 2])])
def test_a_prompt_is_cut_at_the_side_that_was_named(side: str, kept: list[int]) -> None:
    prompt = Prompt([1, 2, 3, 4], "bcde", "tail")
    assert prompt.cut(2, side, letters()).token_ids == kept
    assert prompt.cut(2, "left", letters()).text == "de"
    assert prompt.cut(4, side, letters()) is prompt


def test_priority_needs_a_model_that_orders_by_it() -> None:
    body = completion(priority=3)
    assert sampling_for(body, model(by_priority=True), ApiCaps()).n == 1
    with pytest.raises(InvalidRequest) as caught:
        sampling_for(body, model(), ApiCaps())
    assert caught.value.param == "priority"


def test_scoring_alone_may_use_the_whole_context() -> None:
    assert settled(completion(echo=True, max_tokens=0), 100).max_tokens == 0


def test_what_the_cache_can_never_hold_is_refused() -> None:
    with pytest.raises(ContextTooLong):
        settled(completion(max_tokens=30), 40, kv_tokens=64)
    assert settled(chat(), 40, kv_tokens=64).max_tokens == 24


def test_an_unasked_length_fits_the_keys_limit() -> None:
    assert settled(chat(), 20, rules=TPM).max_tokens == 30
    assert settled(chat(max_tokens=60), 20, rules=TPM).max_tokens == 60  # admission refuses it


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        settled(completion(), 0)
    assert (caught.value.code, caught.value.param) == (None, "prompt")  # it is not too long


def test_the_reservation_covers_every_choice() -> None:
    body = completion(max_tokens=7, n=3)
    params = body.sampling({})
    prompts = [Prompt([1] * 5), Prompt([1] * 2)]
    call = Call(rid="r", route="/v1/completions", body=body, client_request_id="mine")
    made = admission_for(
        call, params, prompts, model(adapter_digest="d", base="base"), key(),
        catalog_epoch=9, price=Price(3, 10, 5, 20), settings=ApiSettings(),
    )  # fmt: skip
    assert made.reserve_tokens == 7 + 2 * 3 * 7
    assert (made.body.model, made.body.adapter, made.catalog_epoch) == ("base", "d", 9)
    assert (made.bill.model, made.bill.adapter, made.bill.price_version) == ("base", "tiny", 3)
    assert made.body.salt == b"salt"


def test_adapter_costs_what_its_base_costs_unless_it_has_a_price_of_its_own() -> None:
    def row(pk: int, model: str) -> PriceVersion:
        return PriceVersion(pk=pk, model=model, input_micros=pk)

    prices = PriceList([row(1, "base"), row(2, "dear"), row(3, "")])
    asked = (("cheap", "base"), ("dear", "base"), ("x", "y"))
    assert [prices.of(*names).version for names in asked] == [1, 2, 3]
    assert PriceList([]).of("base").version == 0


def test_the_bound_has_the_name_that_the_caller_used() -> None:
    with pytest.raises(ContextTooLong, match=r"lower max_completion_tokens\.$"):
        settled(chat(max_completion_tokens=60, max_tokens=1), 41)
