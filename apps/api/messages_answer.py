"""Answers of POST /v1/messages: Anthropic's `message` object, stream and errors."""

from __future__ import annotations

from typing import Any

import orjson

from apps.api.blocks import Begun, Block, BlockEvent, Grown, Kind
from apps.api.event_answers import EventAnswer, event
from engine.errors import PagodaError
from engine.messages import Counts

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}
PING = event("ping", {})


def error_body(error: PagodaError, rid: str) -> bytes:
    """An error in Anthropic's form."""
    kind = ERROR_TYPES.get(error.status, "invalid_request_error")
    shown = {"type": kind, "message": error.message}
    return orjson.dumps({"type": "error", "error": shown, "request_id": rid})


class MessagesAnswer(EventAnswer):
    """Each block is a content block: thinking, text or tool_use."""

    prefix = "msg_"

    def opening(self) -> bytes:
        message = self._message_object([], {"input_tokens": len(self.prompts[0].token_ids)})
        message["usage"]["output_tokens"] = 0
        return event("message_start", {"message": message}) + PING

    def render(self, change: BlockEvent) -> bytes:
        block = change.block
        if isinstance(change, Begun):
            return event(
                "content_block_start",
                {"index": block.index, "content_block": _empty(block)},
            )
        if isinstance(change, Grown):
            delta = _delta(block, change.text)
            return event("content_block_delta", {"index": block.index, "delta": delta})
        return event("content_block_stop", {"index": block.index})

    def closing(self, counts: Counts, include_usage: bool) -> bytes:
        delta = {"stop_reason": self._reason(), "stop_sequence": self._sequence()}
        usage = _usage(counts)
        return event("message_delta", {"delta": delta, "usage": usage}) + event("message_stop", {})

    def failure(self, error: PagodaError) -> bytes:
        rid = self.id.removeprefix(self.prefix)
        return b"event: error\ndata: " + error_body(error, rid) + b"\n\n"

    def finished(self, counts: Counts) -> dict[str, Any]:
        blocks = [_whole(block) for block in self.blocks.all if not block.broken]
        message = self._message_object(blocks, _usage(counts))
        return message | {"stop_reason": self._reason(), "stop_sequence": self._sequence()}

    def _message_object(
        self, blocks: list[dict[str, Any]], usage: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": blocks,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _reason(self) -> str:
        if self._sequence() is not None:
            return "stop_sequence"
        calls = any(b.kind is Kind.CALL and not b.broken for b in self.blocks.all)
        if calls and self.finish_reason == "stop":
            return "tool_use"  # a call that tool_choice asked for
        return STOP_REASONS.get(self.finish_reason, "end_turn")

    def _sequence(self) -> str | None:
        return self.stop_reason if isinstance(self.stop_reason, str) else None


def _empty(block: Block) -> dict[str, Any]:
    match block.kind:
        case Kind.TEXT:
            return {"type": "text", "text": ""}
        case Kind.REASONING:
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Kind.CALL:
            return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}


def _delta(block: Block, text: str) -> dict[str, Any]:
    match block.kind:
        case Kind.TEXT:
            return {"type": "text_delta", "text": text}
        case Kind.REASONING:
            return {"type": "thinking_delta", "thinking": text}
        case Kind.CALL:
            return {"type": "input_json_delta", "partial_json": text}


def _whole(block: Block) -> dict[str, Any]:
    found = _empty(block)
    match block.kind:
        case Kind.TEXT:
            found["text"] = block.text
        case Kind.REASONING:
            found["thinking"] = block.text
        case Kind.CALL:
            found["input"] = orjson.loads(block.text or "{}")
    return found


def _usage(counts: Counts) -> dict[str, Any]:
    """Here `input_tokens` are those that were computed; cached ones stand beside them."""
    return {
        "input_tokens": counts.prompt_tokens - counts.cached_tokens,
        "cache_read_input_tokens": counts.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": counts.completion_tokens,
    }
