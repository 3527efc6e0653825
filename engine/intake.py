"""From a queue entry to a `Request`: every rule a body must meet before it costs a row."""

from __future__ import annotations

import random
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from engine.cache.hashing import root_digest
from engine.cache.manager import CacheManager
from engine.detokenizer import IncrementalDetokenizer
from engine.errors import ContextTooLong, InvalidRequest, ModelNotFound
from engine.messages import QueueBody
from engine.pooling.card import PoolingCard
from engine.pooling.params import names_of
from engine.request import Family, Request, Sequence
from engine.sampling_params import SamplingCaps, SamplingParams
from engine.stop_strings import StopMatcher
from engine.structured.outputs import HARD_CAPS as HARD_STRUCTURED_CAPS
from engine.tokenizer import Tokenizer

HARD_CAPS = SamplingCaps(
    n=128,
    stop=16,
    stop_chars=1024,
    stop_token_ids=1024,
    bad_words=1024,
    structured=HARD_STRUCTURED_CAPS,
)


@dataclass(slots=True, kw_only=True)
class Intake:
    """What the model and its cache allow, and where seeds come from."""

    cache: CacheManager
    tokenizer: Tokenizer | None
    eos_ids: frozenset[int]
    vocab_size: int
    max_model_len: int
    by_priority: bool
    seeds: random.Random
    takes_adapters: bool = False
    card: PoolingCard | None = None  # None: the model generates

    def accept(self, body: QueueBody, arrival: int, now_s: float) -> Request:
        """Build the request. Raises `InvalidRequest` and touches nothing on bad input."""
        self._check(body)
        request = Request(body, now_s, num_open=body.width)
        root = root_digest(adapter=body.adapter, salt=body.salt)
        for prompt_idx, prompt in enumerate(body.prompts):
            family = Family(prompt_idx)
            # without a seed, equal prompts of one request are draws of their own
            base = self.seeds.getrandbits(63) if body.params.seed is None else body.params.seed
            max_len = self._max_len(prompt, body.params)
            for choice in range(body.params.n):
                params = _params_of_choice(body.params, choice)
                index = prompt_idx * params.n + choice
                family.members.append(
                    Sequence(
                        request=request,
                        family=family,
                        index=index,
                        tokens=list(prompt),
                        prompt_len=len(prompt),
                        max_len=max_len,
                        params=params,
                        seed=_seed_of_choice(base, choice),
                        stop_ids=self._stop_ids(params),
                        order=(body.priority if self.by_priority else 0, arrival, index),
                        cache=self.cache.new_entry(
                            root,
                            reads_prefix=params.prompt_logprobs is None
                            and not params.skip_reading_prefix_cache,
                        ),
                        matcher=self._matcher(params, prompt),
                    )
                )
            request.sequences += family.members
        if body.params.prompt_logprobs is not None:
            request.prompt_logprobs = [[None] * len(prompt) for prompt in body.prompts]
            request.num_unscored = len(body.prompts)
        return request

    def _check(self, body: QueueBody) -> None:
        if body.adapter is not None and not self.takes_adapters:
            raise ModelNotFound("This engine runs without adapters (enable_lora).", param="model")
        self._check_task(body)
        if not body.prompts:
            raise InvalidRequest("There is no prompt: send at least one.", param="prompt")
        if body.pooling is None:
            body.params.check(HARD_CAPS, vocab_size=self.vocab_size)
        for prompt in body.prompts:
            if not prompt:
                raise InvalidRequest("A prompt is empty: send at least one token.", param="prompt")
            if min(prompt) < 0 or max(prompt) >= self.vocab_size:
                bad = next(t for t in prompt if not 0 <= t < self.vocab_size)
                raise InvalidRequest(
                    f"The prompt holds token id {bad}; this model has 0 to {self.vocab_size - 1}.",
                    param="prompt",
                )
        if self.tokenizer is None and (body.params.stop or body.params.bad_words):
            name = "stop" if body.params.stop else "bad_words"
            raise InvalidRequest(
                f"'{name}' needs a tokenizer and this engine runs without one; use stop_token_ids.",
                param=name,
            )

    def _check_task(self, body: QueueBody) -> None:
        """Vectors come from models for them, tokens from those that generate."""
        pooling = body.pooling
        if pooling is None:
            if self.card is not None:
                raise InvalidRequest(
                    f"This model does not generate text; it is for {names_of(self.card.tasks)}.",
                    param="model",
                )
            return
        if self.card is None:
            raise InvalidRequest(
                f"This model cannot {pooling.task}; it generates text.", param="model"
            )
        self.card.check(pooling)
        if body.params.n != 1 or body.params.max_tokens != 0:
            raise InvalidRequest("A pooling request has n = 1 and max_tokens = 0.")
        pairs = pooling.second_at
        if pairs and (
            len(pairs) != len(body.prompts)
            or any(not 0 <= at < len(p) for at, p in zip(pairs, body.prompts, strict=True))
        ):
            raise InvalidRequest("'second_at' must name a place inside each prompt.")

    def _max_len(self, prompt: list[int], params: SamplingParams) -> int:
        """Tokens of prompt and output together. The last one never enters the cache."""
        limit = min(self.max_model_len, self.cache.capacity_tokens + 1)
        wanted = 1 if params.max_tokens is None else params.max_tokens
        if len(prompt) + wanted > self.max_model_len:
            raise ContextTooLong(
                f"The prompt has {len(prompt)} tokens and {_words(params)} asked for; the "
                f"model's context is {self.max_model_len} tokens. Shorten the prompt or lower "
                "max_tokens.",
                param="prompt",
            )
        if len(prompt) + wanted > limit or len(prompt) > self.cache.capacity_tokens:
            raise ContextTooLong(
                f"The prompt has {len(prompt)} tokens and {_words(params)} asked for; the KV "
                f"cache of this engine holds {self.cache.capacity_tokens} tokens. Shorten the "
                "prompt or lower max_tokens.",
                param="prompt",
            )
        return limit if params.max_tokens is None else len(prompt) + wanted

    def _stop_ids(self, params: SamplingParams) -> frozenset[int]:
        # a grammar that is complete can only end
        ignored = params.ignore_eos and params.structured_outputs is None
        eos = frozenset[int]() if ignored else self.eos_ids
        return eos.union(params.stop_token_ids)

    def _matcher(self, params: SamplingParams, prompt: list[int]) -> StopMatcher | None:
        if not params.stop or self.tokenizer is None:
            return None
        text = IncrementalDetokenizer(
            self.tokenizer, prompt_ids=prompt, skip_special_tokens=params.skip_special_tokens
        )
        return StopMatcher(params.stop, text, include_stop=params.include_stop_str_in_output)


def _words(params: SamplingParams) -> str:
    count = 1 if params.max_tokens is None else params.max_tokens
    return "1 more is" if count == 1 else f"{count} more are"


def _params_of_choice(params: SamplingParams, choice: int) -> SamplingParams:
    """Only the first choice scores the prompt."""
    if choice == 0 or params.prompt_logprobs is None:
        return params
    return msgspec.structs.replace(params, prompt_logprobs=None)


def _seed_of_choice(base: int, choice: int) -> int:
    """The first choice uses the request's seed itself, so n = 1 and n > 1 agree on it."""
    if choice == 0:
        return base
    digest = sha256(base.to_bytes(16, "little", signed=True) + choice.to_bytes(8, "little"))
    return int.from_bytes(digest.digest()[:8], "little") >> 1
