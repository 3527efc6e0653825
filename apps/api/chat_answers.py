"""Bytes of chat answers: text, and where the model has them, reasoning and tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from apps.api import request_metrics
from apps.api.answers import OPEN, PLAIN, Answer, Collected, Wishes
from apps.api.choices import ChoiceReader
from apps.api.forced_calls import form_with_calls, parser_of_calls, thought_of
from apps.api.logprobs import Candidates, chat_logprobs
from apps.api.model_texts import ModelText
from apps.api.parsers import (
    CallArguments,
    CallBroken,
    CallStart,
    Content,
    Piece,
    Pipeline,
    Reasoning,
    Tool,
    collect,
    pipeline_for,
)
from apps.api.prompt import Prompt
from apps.api.rendering import template_kwargs
from apps.api.schemas import ChatBody
from apps.api.template_traits import THINKING_SWITCHES
from engine.errors import InvalidRequest
from engine.messages import ChoiceDelta, Counts, Finish
from engine.sampling_params import SamplingParams, ThinkingBudget
from engine.tokenizer import Tokenizer


def chat_pipelines(
    params: SamplingParams, body: ChatBody, text: ModelText, prompt: Prompt
) -> list[Pipeline]:
    """One parser per choice; none when all that the model may write is content. Call it after
    `follow_form`: where a form leaves no room for reasoning, its marks are content."""
    tool = parser_of_calls(body, text)
    if tool is None and text.parsers.reasoning is None:
        return []
    form = params.structured_outputs
    thinking = _thinks(body, text) and (form is None or form.thought is not None)
    if tool is not None:
        request_metrics.CALLS.labels(tool).inc(body.n)
    functions = [spec.function for spec in body.offered]
    return [
        pipeline_for(
            tool,
            text.parsers.reasoning,
            tools=[Tool(function.name, function.parameters or {}) for function in functions],
            prompt=prompt.tail,
            thinking=thinking,
            parallel=body.parallel_tool_calls,
        )
        for _ in range(body.n)
    ]


def follow_form(
    params: SamplingParams, body: ChatBody, text: ModelText, prompt: Prompt
) -> tuple[str, ...]:
    """Bind the answer to its form and to that of its calls, after what may be reasoning.

    Returns the names of fields that this model cannot follow. Raises `InvalidRequest`.
    """
    parser = parser_of_calls(body, text)
    form = form_with_calls(body, parser, params.structured_outputs)
    if form is not None:
        # an opening of reasoning would be likelier than a form's first tokens, which nobody expects
        thinking = _thinks(body, text, unsaid=text.thinks)
        form.thought = thought_of(text.parsers.reasoning, prompt=prompt.tail, thinking=thinking)
    params.structured_outputs = form
    unmet = form is None and any(tool.function.strict for tool in body.offered)
    return ("tools.function.strict",) if unmet else ()


def limit_thinking(params: SamplingParams, body: ChatBody, text: ModelText, prompt: Prompt) -> None:
    """`thinking_token_budget`. Raises `InvalidRequest` for a model whose reasoning does not end
    with a token of its own."""
    if body.thinking_token_budget is None:
        return
    thought = thought_of(text.parsers.reasoning, prompt=prompt.tail, thinking=_thinks(body, text))
    ends = _own_tokens(text, thought.ends) if thought else []
    if thought is not None and not ends:
        raise InvalidRequest(
            "'thinking_token_budget' needs a model whose reasoning ends with a token of its own; "
            "use max_tokens.",
            param="thinking_token_budget",
        )
    if thought is None and text.parsers.reasoning is None:
        raise InvalidRequest(
            "'thinking_token_budget' has no meaning for this model: it does not reason.",
            param="thinking_token_budget",
        )
    if thought is not None:
        params.thinking_budget = ThinkingBudget(
            tokens=body.thinking_token_budget,
            end_id=ends[0],
            start_ids=_own_tokens(text, thought.starts),
            begun=thought.begun,
        )


def _own_tokens(text: ModelText, markers: Iterable[str]) -> list[int]:
    """Ids of the markers that are single tokens of this model."""
    spelled = [text.tokenizer.encode(marker, add_special_tokens=False) for marker in markers]
    return [ids[0] for ids in spelled if len(ids) == 1]


def _thinks(body: ChatBody, text: ModelText, *, unsaid: bool = True) -> bool:
    given = template_kwargs(body, text.template_words)
    said = [given[switch] for switch in THINKING_SWITCHES if switch in given]
    return all(said) if said else unsaid


class ChatAnswer(Answer):
    """chat.completion and chat.completion.chunk."""

    prefix = "chatcmpl-"
    chunk_object = "chat.completion.chunk"

    def __init__(
        self, rid: str, body: ChatBody, tokenizer: Tokenizer, params: SamplingParams,
        prompts: list[Prompt], pipelines: Sequence[Pipeline] = (),
        keep_ids: frozenset[int] = frozenset(), wishes: Wishes = PLAIN,
    ) -> None:  # fmt: skip
        """`pipelines`: one per choice, or none; `keep_ids`: the special tokens they look for."""
        super().__init__(rid, body.model, tokenizer, params, prompts, keep_ids, wishes)
        self._echo = last_words(body) if body.echo else ""
        self._top = body.logprob_token_ids or body.top_logprobs or 0
        self._shows_reasoning = body.include_reasoning
        self._named = body.forced_name is not None
        self._readers = [
            ChoiceReader(text, pipeline)
            for text, pipeline in zip(self._texts, pipelines, strict=False)
        ]
        # None where the rest of a choice is content as it stands: that costs no parsing
        self._parsing: list[ChoiceReader | None] = [*self._readers] or [None] * self.width

    def opening(self) -> bytes:
        role = b'"delta":{"role":"assistant","content":""},"finish_reason":null}]'
        end = self._running_usage() if self.continuous_usage else b""
        if self.wishes.return_ids:
            end += b',"prompt_token_ids":' + orjson.dumps(self.prompts[0].token_ids)
        out = [
            self._head + b'{"index":%d,' % index + role + end + b"}\n\n"
            for index in range(self.width)
        ]
        if self._echo:
            echo = self._shown(self._echo)
            out += [self._event(index, echo, b"", OPEN) for index in range(self.width)]
        return b"".join(out)

    def _take(self, choice: ChoiceDelta) -> bytes:
        if (reader := self._parsing[choice.index]) is None:
            return super()._take(choice)
        return self._delta(self._parse(reader, choice))

    def _collect_text(self, into: Collected, choice: ChoiceDelta) -> None:
        if (reader := self._parsing[choice.index]) is None:
            super()._collect_text(into, choice)
        else:
            into.pieces += self._parse(reader, choice)

    def _parse(self, reader: ChoiceReader, choice: ChoiceDelta) -> list[Piece]:
        pieces = reader.take(choice)
        if reader.passes:
            self._parsing[choice.index] = None
        return pieces

    def _finish(self, choice: ChoiceDelta) -> str:
        """`tool_calls` when there are calls, not of a function that the caller named, and the
        model itself came to its end."""
        if choice.finish is Finish.STOP and choice.stop_reason is None and self._readers:
            called = self._readers[choice.index].called and not self._named
            return "tool_calls" if called else "stop"
        return super()._finish(choice)

    def _reasoning_tokens(self) -> int:
        return sum(reader.reasoning_tokens for reader in self._readers)

    def _shown(self, text: str) -> bytes:
        return b'"delta":{"content":' + orjson.dumps(text) + b"}" if text else b'"delta":{}'

    def _delta(self, pieces: list[Piece]) -> bytes:
        """All pieces as one delta; empty when there are none to show."""
        if len(pieces) == 1 and isinstance(pieces[0], Content):
            return self._shown(pieces[0].text)
        delta: dict[str, str] = {}
        calls: dict[int, dict[str, Any]] = {}
        for piece in pieces:
            match piece:
                case Content(text):
                    delta["content"] = delta.get("content", "") + text
                case Reasoning(text) if self._shows_reasoning:
                    delta["reasoning"] = delta.get("reasoning", "") + text
                    delta["reasoning_content"] = delta["reasoning"]
                case CallStart(index, call_id, name):
                    calls[index] = {"index": index} | _call(call_id, name, "")
                case CallArguments(index, fragment):
                    call = calls.setdefault(index, {"index": index, "function": {"arguments": ""}})
                    call["function"]["arguments"] += fragment
                case CallBroken(index, text):
                    delta["content"] = delta.get("content", "") + text
                    if "id" in calls.get(index, ()):  # nobody has seen its beginning
                        del calls[index]
        if not delta and not calls:
            return b""
        listed = {"tool_calls": list(calls.values())} if calls else {}
        return b'"delta":' + orjson.dumps(delta | listed)

    def _logprobs(self, choice: ChoiceDelta) -> bytes:
        content = chat_logprobs(self.names, choice.logprobs or [], self._top)
        return b',"logprobs":' + orjson.dumps({"content": content})

    def _whole(
        self,
        choices: list[Collected],
        scores: list[list[Candidates | None]] | None,
        counts: Counts,
    ) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [self._choice(i, choice) for i, choice in enumerate(choices)],
            "usage": self._usage(counts),
        }
        if self.wishes.return_ids:
            found["prompt_token_ids"] = self.prompts[0].token_ids
        if scores is not None:
            found["prompt_logprobs"] = self._scores(scores[0])
        return found

    def _choice(self, index: int, choice: Collected) -> dict[str, Any]:
        logprobs = None
        if self.params.scored:
            logprobs = {"content": chat_logprobs(self.names, choice.rows, self._top)}
        found = {
            "index": index,
            "message": self._message(choice),
            "logprobs": logprobs,
            "finish_reason": choice.finish,
            "stop_reason": choice.stop_reason,
        }
        if self.wishes.return_ids:
            found["token_ids"] = choice.token_ids
        return found

    def _message(self, choice: Collected) -> dict[str, Any]:
        parsed = collect(choice.pieces)
        content = self._echo + parsed.content + "".join(choice.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if parsed.calls and not content else content,
        }
        if parsed.reasoning and self._shows_reasoning:
            message["reasoning"] = message["reasoning_content"] = parsed.reasoning
        if parsed.calls:
            calls = [_call(call.id, call.name, call.arguments) for call in parsed.calls]
            message["tool_calls"] = calls
        return message


def last_words(body: ChatBody) -> str:
    """What `echo` puts first: the last message, if it is the assistant's."""
    last = body.messages[-1]
    return last.text if last.role == "assistant" else ""


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}
