"""POST /v1/messages and /v1/messages/count_tokens: chats in Anthropic's words."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from apps.api import messages_body, parse
from apps.api.admission import Call
from apps.api.body import Header, header, parse_object
from apps.api.chat_answers import ChatAnswer
from apps.api.foreign import renamed
from apps.api.generation import ChatCompletions
from apps.api.messages_answer import MessagesAnswer, error_body
from apps.api.messages_body import PARAMS, PARTS, CountBody, MessagesBody
from apps.api.model_texts import ModelText
from apps.api.prompt import Prompt
from apps.api.replies import JSON
from apps.api.schemas import ChatBody
from apps.api.selectors import KeySnapshot
from apps.api.writer import ResponseWriter
from engine.errors import InvalidRequest, PagodaError
from engine.sampling_params import SamplingParams


class Messages(ChatCompletions):
    """A message of the assistant."""

    route = "/v1/messages"
    kind: type[CountBody] = MessagesBody

    def credentials(self, headers: list[Header]) -> bytes | None:
        """`x-api-key`, as Anthropic's clients send it, or a bearer token."""
        own = header(headers, b"x-api-key")
        return super().credentials(headers) if own is None else b"Bearer " + own

    def parse(self, data: bytes) -> tuple[ChatBody, list[str]]:
        raw, ignored = messages_body.read(parse_object(data), self.kind)
        body, of_chat = parse.chat_of(raw, self.runtime.caps)
        return body, parse.shown_names([*ignored, *of_chat])

    def answer_kind(self) -> Callable[..., ChatAnswer]:
        return MessagesAnswer

    def limit(
        self, params: SamplingParams, body: ChatBody, text: ModelText, prompt: Prompt
    ) -> tuple[str, ...]:
        """Anthropic's clients have to send a budget: a model that cannot keep one goes without."""
        try:
            return super().limit(params, body, text, prompt)
        except InvalidRequest:
            return ("thinking.budget_tokens",)

    def in_own_words(self, error: PagodaError) -> PagodaError:
        return renamed(error, PARAMS, PARTS) if isinstance(error, InvalidRequest) else error

    def error_body(self, error: PagodaError, rid: str) -> bytes:
        return error_body(error, rid)


class CountTokens(Messages):
    """How long the prompt of a message would be. No engine is asked."""

    route = "/v1/messages/count_tokens"
    kind = CountBody

    async def _answer(self, call: Call, key: KeySnapshot, writer: ResponseWriter) -> None:
        model = await self.runtime.models.target(call.body.model, key)
        assert isinstance(call.body, ChatBody)
        (prompt,) = await self.tokenise(call.body, model)
        headers = [JSON, (b"x-request-id", call.rid.encode())]
        if call.ignored:
            headers.append((b"x-pagoda-ignored", ", ".join(call.ignored).encode()))
        body = orjson.dumps({"input_tokens": len(prompt.token_ids)})
        await writer.whole(200, headers, body)
