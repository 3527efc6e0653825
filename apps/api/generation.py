"""Routes that generate: what they share, and the two that most clients use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from apps.api import parse
from apps.api.admission import Call, admission_for, fit, sampling_for
from apps.api.answers import Answer, Wishes
from apps.api.chat_answers import ChatAnswer, chat_pipelines, follow_form, limit_thinking
from apps.api.completion_answers import CompletionAnswer
from apps.api.consumers import B, EngineConsumer
from apps.api.model_texts import ModelText
from apps.api.prompt import Prompt
from apps.api.schemas import ChatBody, CompletionBody
from apps.api.selectors import KeySnapshot
from apps.models.catalog import CatalogModel
from engine.client import Admission
from engine.sampling_params import SamplingParams


class GenerationConsumer(EngineConsumer[B]):
    """Prompts become token ids, and an answer is made for the tokens to come."""

    async def _prepare(self, call: Call, key: KeySnapshot) -> tuple[Answer, Admission]:
        runtime = self.runtime
        body: Any = call.body
        model = await runtime.models.target(call.body.model, key)
        epoch = runtime.models.catalog.epoch
        params = sampling_for(body, model, runtime.caps)
        prompts = await self.tokenise(body, model)
        fit(params, body, prompts, model, key)
        text = await runtime.prompts.text_of(model)
        answer = self._made = await runtime.prompts.near(
            body.form_chars, lambda: self.answer(call.rid, body, text, params, prompts)
        )
        admission = admission_for(
            call,
            params,
            prompts,
            model,
            key,
            catalog_epoch=epoch,
            price=runtime.models.prices.of(model.name, model.base),
            settings=runtime.settings,
        )
        return answer, admission

    @abstractmethod
    async def tokenise(self, body: B, model: CatalogModel) -> list[Prompt]:
        """The prompts of the body as token ids."""

    @abstractmethod
    def answer(
        self, rid: str, body: B, text: ModelText, params: SamplingParams, prompts: list[Prompt]
    ) -> Answer:
        """What turns deltas into this route's words."""


class Completions(GenerationConsumer[CompletionBody]):
    """POST /v1/completions."""

    route = "/v1/completions"

    def parse(self, data: bytes) -> tuple[CompletionBody, list[str]]:
        return parse.parse_completion(data, self.runtime.caps)

    async def tokenise(self, body: CompletionBody, model: CatalogModel) -> list[Prompt]:
        return await self.runtime.prompts.completion(body, model)

    def answer(
        self, rid: str, body: CompletionBody, text: ModelText, params: SamplingParams,
        prompts: list[Prompt],
    ) -> Answer:  # fmt: skip
        return CompletionAnswer(
            rid, body, text.tokenizer, params, prompts, Wishes.of(body, text.options)
        )


class ChatCompletions(GenerationConsumer[ChatBody]):
    """POST /v1/chat/completions."""

    route = "/v1/chat/completions"

    def parse(self, data: bytes) -> tuple[ChatBody, list[str]]:
        return parse.parse_chat(data, self.runtime.caps)

    async def tokenise(self, body: ChatBody, model: CatalogModel) -> list[Prompt]:
        return await self.runtime.prompts.chat(body, model)

    def answer(
        self, rid: str, body: ChatBody, text: ModelText, params: SamplingParams,
        prompts: list[Prompt],
    ) -> Answer:  # fmt: skip
        unmet = follow_form(params, body, text, prompts[0])
        pipelines = chat_pipelines(params, body, text, prompts[0])
        unmet += self.limit(params, body, text, prompts[0])
        keep_ids = text.ids_of(pipelines[0].keeps) if pipelines else frozenset[int]()
        wishes = Wishes.of(body, text.options)
        answer = self.answer_kind()(
            rid, body, text.tokenizer, params, prompts, pipelines, keep_ids, wishes
        )
        answer.unmet = unmet
        return answer

    def limit(
        self, params: SamplingParams, body: ChatBody, text: ModelText, prompt: Prompt
    ) -> tuple[str, ...]:
        """Bound the reasoning. Names of fields that the model cannot follow and may ignore."""
        limit_thinking(params, body, text, prompt)
        return ()

    def answer_kind(self) -> Callable[..., ChatAnswer]:
        """What makes the answer; APIs that ask for a chat in other words have their own."""
        return ChatAnswer
