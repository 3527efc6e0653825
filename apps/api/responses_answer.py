"""Answers of POST /v1/responses: a `response` object, and its stream of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apps.api.blocks import Begun, Block, BlockEvent, Grown, Kind
from apps.api.event_answers import EventAnswer, event
from apps.api.logprobs import Candidates, chat_logprobs
from apps.api.responses_body import ResponsesBody
from engine.errors import PagodaError
from engine.messages import Counts

PREFIX = "resp_"
ITEM_DONE = "response.output_item.done"
_ITEM_PREFIX = {Kind.REASONING: "rs_", Kind.TEXT: "msg_", Kind.CALL: "fc_"}


class ResponsesAnswer(EventAnswer):
    """Each block is an output item: reasoning, a message, or a function call."""

    prefix = PREFIX

    def __init__(self, asked: ResponsesBody, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._asked = asked
        self._sequence = 0

    def opening(self) -> bytes:
        response = self._response("in_progress", [], None)
        return self._tell("response.created", response=response) + self._tell(
            "response.in_progress", response=response
        )

    def render(self, change: BlockEvent) -> bytes:
        block = change.block
        if isinstance(change, Begun):
            return self._begun(block)
        if isinstance(change, Grown):
            return self._grown(block, change.text, change.rows)
        return self._ended(block)

    def closing(self, counts: Counts, include_usage: bool) -> bytes:
        response = self.finished(counts)
        return self._tell(f"response.{response['status']}", response=response)

    def failure(self, error: PagodaError) -> bytes:
        response = self._response("failed", self._items(), None)
        response["error"] = {"code": "server_error", "message": error.message}
        return self._tell("response.failed", response=response)

    def finished(self, counts: Counts) -> dict[str, Any]:
        cut = self.finish_reason == "length"
        status = "incomplete" if cut else "completed"
        response = self._response(status, self._items(), self._response_usage(counts))
        if cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        return response

    def _begun(self, block: Block) -> bytes:
        item = self._item(block, "in_progress")
        name, nothing = ("arguments", "") if block.kind is Kind.CALL else ("content", [])
        item[name] = nothing
        found = self._of_output("response.output_item.added", block, item=item)
        if block.kind is Kind.CALL:
            return found
        empty = Block(block.index, block.kind)
        return found + self._of_part("response.content_part.added", block, part=self._part(empty))

    def _grown(self, block: Block, text: str, rows: list[Candidates]) -> bytes:
        match block.kind:
            case Kind.TEXT:
                return self._of_part(
                    "response.output_text.delta", block, delta=text, logprobs=self._brief(rows)
                )
            case Kind.REASONING:
                return self._of_part("response.reasoning_text.delta", block, delta=text)
            case Kind.CALL:
                return self._of_item("response.function_call_arguments.delta", block, delta=text)

    def _ended(self, block: Block) -> bytes:
        item = self._item(block, self._status(block))
        return b"".join((*self._contents_done(block), self._of_output(ITEM_DONE, block, item=item)))

    def _contents_done(self, block: Block) -> Iterator[bytes]:
        text = block.text
        match block.kind:
            case Kind.CALL:
                kind = "response.function_call_arguments.done"
                yield self._of_item(kind, block, name=block.name, arguments=text)
                return
            case Kind.TEXT:
                scores = self._brief(block.rows)
                kind = "response.output_text.done"
                yield self._of_part(kind, block, text=text, logprobs=scores)
            case Kind.REASONING:
                yield self._of_part("response.reasoning_text.done", block, text=text)
        yield self._of_part("response.content_part.done", block, part=self._part(block))

    def _items(self) -> list[dict[str, Any]]:
        return [self._item(b, self._status(b)) for b in self.blocks.all if not b.broken]

    def _status(self, block: Block) -> str:
        last = block is self.blocks.all[-1]
        return "incomplete" if block.broken or (last and self._cut) else "completed"

    @property
    def _cut(self) -> bool:
        return self.finish_reason in ("", "length")

    def _item(self, block: Block, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self._item_id(block), "status": status}
        match block.kind:
            case Kind.TEXT:
                return item | {
                    "type": "message", "role": "assistant", "content": [self._part(block)],
                }  # fmt: skip
            case Kind.REASONING:
                return item | {"type": "reasoning", "summary": [], "content": [self._part(block)]}
            case Kind.CALL:
                return item | {
                    "type": "function_call", "call_id": block.call_id, "name": block.name,
                    "arguments": block.text,
                }  # fmt: skip

    def _part(self, block: Block) -> dict[str, Any]:
        if block.kind is Kind.REASONING:
            return {"type": "reasoning_text", "text": block.text}
        scores = self._scored(block.rows)
        return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": scores}

    def _scored(self, rows: list[Candidates]) -> list[dict[str, Any]]:
        return chat_logprobs(self.names, rows, self._top)

    def _brief(self, rows: list[Candidates]) -> list[dict[str, Any]]:
        """Scores as events have them: without the bytes of the tokens."""

        def brief(entry: dict[str, Any]) -> dict[str, Any]:
            return {"token": entry["token"], "logprob": entry["logprob"]}

        return [
            brief(entry) | {"top_logprobs": [brief(top) for top in entry["top_logprobs"]]}
            for entry in self._scored(rows)
        ]

    def _response(
        self, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        return self._asked.echo(self.params) | {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "model": self.model,
            "status": status,
            "output": output,
            "usage": usage,
        }

    def _response_usage(self, counts: Counts) -> dict[str, Any]:
        return {
            "input_tokens": counts.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": counts.cached_tokens,
                "cache_write_tokens": 0,
            },
            "output_tokens": counts.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": self._reasoning_tokens()},
            "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        }

    def _item_id(self, block: Block) -> str:
        rid = self.id.removeprefix(PREFIX)
        return f"{_ITEM_PREFIX[block.kind]}{rid}_{block.index}"

    def _of_part(self, kind: str, block: Block, **fields: Any) -> bytes:
        return self._of_item(kind, block, content_index=0, **fields)

    def _of_item(self, kind: str, block: Block, **fields: Any) -> bytes:
        return self._of_output(kind, block, item_id=self._item_id(block), **fields)

    def _of_output(self, kind: str, block: Block, **fields: Any) -> bytes:
        return self._tell(kind, output_index=block.index, **fields)

    def _tell(self, kind: str, **fields: Any) -> bytes:
        found = event(kind, {"sequence_number": self._sequence} | fields)
        self._sequence += 1
        return found
