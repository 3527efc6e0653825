"""The two routes that most clients use: completions and chats."""

from __future__ import annotations

from collections.abc import Callable

from apps.api import parse
from apps.api.answers import Answer, Wishes
from apps.api.chat_answers import ChatAnswer, chat_pipelines, follow_form, limit_thinking
from apps.api.completion_answers import CompletionAnswer
from apps.api.consumers import GenerationConsumer
from apps.api.model_texts import ModelText
from apps.api.prompt import Prompt
from apps.api.schemas import ChatBody, CompletionBody
from apps.models.catalog import CatalogModel
from engine.sampling_params import SamplingParams


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
        pipelines = chat_pipelines(body, text, prompts[0])
        unmet = follow_form(params, body, text, prompts[0])
        limit_thinking(params, body, text, prompts[0])
        keep_ids = text.ids_of(pipelines[0].keeps) if pipelines else frozenset[int]()
        wishes = Wishes.of(body, text.options)
        answer = self.answer_kind()(
            rid, body, text.tokenizer, params, prompts, pipelines, keep_ids, wishes
        )
        answer.unmet = unmet
        return answer

    def answer_kind(self) -> Callable[..., ChatAnswer]:
        """What makes the answer; APIs that ask for a chat in other words have their own."""
        return ChatAnswer
