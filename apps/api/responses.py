"""POST /v1/responses, and what may be asked about a response by its id."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from channels.consumer import AsyncConsumer

from apps.api import parse, responses_body
from apps.api.auth import FRESH_S, authenticate, require_scope
from apps.api.body import Receive, header, parse_object
from apps.api.chat_answers import ChatAnswer
from apps.api.errors import public_error, wrong_method
from apps.api.foreign import own_parts, renamed
from apps.api.generation import ChatCompletions
from apps.api.replies import JSON, refuse
from apps.api.responses_answer import PREFIX, ResponsesAnswer
from apps.api.responses_body import PARAMS, PARTS, ResponsesBody
from apps.api.runtime import WebRuntime
from apps.api.schemas import ChatBody
from apps.api.writer import ResponseWriter, Send
from engine.errors import InvalidRequest, NotFound, PagodaError
from engine.sampling_params import SamplingParams


class Responses(ChatCompletions):
    """A chat in the words of the Responses API."""

    route = "/v1/responses"
    asked: ResponsesBody

    def parse(self, data: bytes) -> tuple[ChatBody, list[str]]:
        self.asked, raw, ignored = responses_body.read(parse_object(data))
        body, of_chat = parse.chat_of(raw, self.runtime.caps)
        # user and metadata come back in the response
        inside = (own_parts(name, PARTS) for name in of_chat if "." in name)
        return body, parse.shown_names([*ignored, *inside])

    def answer_kind(self) -> Callable[..., ChatAnswer]:
        return partial(ResponsesAnswer, self.asked)

    def in_own_words(self, error: PagodaError) -> PagodaError:
        return renamed(error, PARAMS, PARTS) if isinstance(error, InvalidRequest) else error


class ResponseById(AsyncConsumer):  # type: ignore[misc]
    """/v1/responses/{id}: nothing is stored, so only a running one can be cancelled."""

    route = "/v1/responses/"

    def __init__(self, *, runtime: WebRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        rid, writer = scope["pagoda_rid"], ResponseWriter(send)
        try:
            body = orjson.dumps(await self._cancelled(scope))
            await writer.whole(200, [JSON, (b"x-request-id", rid.encode())], body)
        except Exception as error:
            await refuse(public_error(error, rid), rid, writer, receive)

    async def _cancelled(self, scope: dict[str, Any]) -> dict[str, Any]:
        key = await authenticate(
            self._runtime.keys, header(scope["headers"], b"authorization"), FRESH_S
        )
        require_scope(key, "inference")
        name, _, action = scope["path"].removeprefix(self.route).partition("/")
        if action == "cancel" and scope["method"] != "POST":
            raise wrong_method(scope["method"], ["POST"])
        entry = None
        if action == "cancel" and name.startswith(PREFIX):
            entry = await self._runtime.client.cancel(name.removeprefix(PREFIX), key.public_id)
        if entry is None:
            raise NotFound(
                "There is no such running response. Finished ones are not kept: this server "
                "stores none."
            )
        asked = ResponsesBody(input="")
        return asked.echo(SamplingParams()) | {
            "id": name,
            "object": "response",
            "created_at": int(time.time()),
            "model": entry.bill.get("model", ""),
            "status": "cancelled",
            "output": [],
            "usage": None,
        }
