"""Bytes of answers: chunks of a stream and whole bodies. Completions here, chat beside it.

A chunk is built from templates made once per request; only the new text goes through a JSON
encoder.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from apps.api.choices import ChoiceText
from apps.api.errors import json_of
from apps.api.logprobs import Candidates, Names, prompt_logprobs
from apps.api.pacing import Pacer
from apps.api.parsers import Piece
from apps.api.prompt import Prompt
from apps.api.schemas import GenerationBody
from apps.models.catalog import TextOptions
from engine.errors import PagodaError
from engine.messages import ChoiceDelta, Counts, Delta
from engine.sampling_params import SamplingParams
from engine.tokenizer import Tokenizer

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
OPEN = b',"finish_reason":null'


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an answer shows beside its text, and how."""

    return_ids: bool = False
    tokens_by_id: bool = False
    stream_interval: int = 1

    @classmethod
    def of(cls, body: GenerationBody, options: TextOptions) -> Self:
        """The request's own wish, else the model's setting."""
        by_id, interval = body.return_tokens_as_token_ids, body.stream_interval
        return cls(
            return_ids=body.return_token_ids,
            tokens_by_id=options.return_tokens_as_token_ids if by_id is None else by_id,
            stream_interval=options.stream_interval if interval is None else interval,
        )


PLAIN = Wishes()


@dataclass(slots=True)
class Collected:
    """One choice of an answer that is sent whole."""

    text: list[str] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)  # what a parser made of the text
    token_ids: list[int] = field(default_factory=list)
    rows: list[Candidates] = field(default_factory=list)
    finish: str | None = None
    stop_reason: str | int | None = None


def times_ms(counts: Counts) -> dict[str, int]:
    """Where a request's time went, counted by its engine."""
    decode = max(0, counts.total_ms - counts.ttft_ms)
    return {"queue": counts.queue_ms, "ttft": counts.ttft_ms, "decode": decode}


class Answer(ABC):
    """What both forms share. `chunks` must see every delta of a stream, in order."""

    prefix = ""  # of the response id
    chunk_object = ""

    def __init__(
        self,
        rid: str,
        model: str,
        tokenizer: Tokenizer,
        params: SamplingParams,
        prompts: list[Prompt],
        keep_ids: frozenset[int] = frozenset(),
        wishes: Wishes = PLAIN,
    ) -> None:
        """`keep_ids`: special tokens that stay in the text, because a parser looks for them."""
        self.id = self.prefix + rid
        self.created = int(time.time())
        self.model = model
        self.wishes = wishes
        self.names = Names(tokenizer, wishes.tokens_by_id)
        self._pacer = Pacer(wishes.stream_interval) if wishes.stream_interval > 1 else None
        self.tokenizer = tokenizer
        self.params = params
        self.prompts = prompts
        self.continuous_usage = False
        self.tells_times = False
        self.unmet: tuple[str, ...] = ()  # fields that this model cannot follow
        self.width = len(prompts) * params.n
        self._completion_tokens = 0
        head = {"id": self.id, "object": self.chunk_object, "created": self.created, "model": model}
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
        self._texts = [
            ChoiceText(tokenizer, prompts[i // params.n].token_ids, params, keep_ids)
            for i in range(self.width)
        ]

    @abstractmethod
    def opening(self) -> bytes:
        """Chunks that come before any token."""

    def chunks(self, delta: Delta) -> bytes:
        """Events for one delta, in one piece; empty when nothing may be shown yet."""
        out = [self._chunk(choice) for choice in self._choices(delta)]
        return out[0] if len(out) == 1 else b"".join(out)

    def closing(self, counts: Counts, include_usage: bool) -> bytes:
        """The end of a stream in which nothing went wrong."""
        return self.usage_chunk(counts) + DONE if include_usage else DONE

    def failure(self, error: PagodaError) -> bytes:
        """The end of a stream that cannot go on: no `[DONE]`, so it never looks whole."""
        return b"data: " + json_of(error) + b"\n\n"

    def _choices(self, delta: Delta) -> list[ChoiceDelta]:
        return delta.choices if self._pacer is None else self._pacer.take(delta.choices)

    def usage_chunk(self, counts: Counts) -> bytes:
        found = self._head + b'],"usage":' + orjson.dumps(self._usage(counts))
        if self.tells_times:
            found += b',"metrics":' + orjson.dumps(times_ms(counts))
        return found + b"}\n\n"

    def whole(self, deltas: Iterable[Delta], counts: Counts) -> bytes:
        """The body of an answer that is not streamed."""
        choices = [Collected() for _ in range(self.width)]
        scores: list[list[Candidates | None]] | None = None
        for delta in deltas:
            scores = delta.prompt_logprobs if delta.prompt_logprobs is not None else scores
            for choice in delta.choices:
                self._collect(choices[choice.index], choice)
        return orjson.dumps(self._whole(choices, scores, counts))

    def _chunk(self, choice: ChoiceDelta) -> bytes:
        shown = self._take(choice)
        self._completion_tokens += len(choice.token_ids)
        if self.wishes.return_ids:
            shown = (shown or self._shown("")) + self._ids(choice)
        elif not shown and choice.finish is None and choice.logprobs is None:
            return b""
        logprobs = b"" if choice.logprobs is None else self._logprobs(choice)
        return self._event(choice.index, shown or self._shown(""), logprobs, self._ending(choice))

    def _ids(self, choice: ChoiceDelta) -> bytes:
        return b',"token_ids":' + orjson.dumps(choice.token_ids)

    def _take(self, choice: ChoiceDelta) -> bytes:
        """What the delta newly shows; empty when that is nothing."""
        text = self._texts[choice.index].take(choice)
        return self._shown(text) if text else b""

    def _ending(self, choice: ChoiceDelta) -> bytes:
        """finish_reason, and stop_reason with it."""
        if choice.finish is None:
            return OPEN
        reason = orjson.dumps(choice.stop_reason)
        return b',"finish_reason":"%b","stop_reason":%b' % (self._finish(choice).encode(), reason)

    def _finish(self, choice: ChoiceDelta) -> str:
        """Why a choice that has ended did so."""
        assert choice.finish is not None
        return choice.finish.value

    def _event(self, index: int, shown: bytes, logprobs: bytes, ending: bytes) -> bytes:
        """One chunk of one choice."""
        return b"".join(
            (
                self._head,
                b'{"index":%d,' % index,
                shown,
                logprobs,
                ending,
                b"}]",
                self._running_usage() if self.continuous_usage else b"",
                b"}\n\n",
            )
        )

    @abstractmethod
    def _shown(self, text: str) -> bytes:
        """The member of a chunk's choice that holds its text."""

    @abstractmethod
    def _logprobs(self, choice: ChoiceDelta) -> bytes:
        """The member that holds its log-probabilities."""

    @abstractmethod
    def _whole(
        self,
        choices: list[Collected],
        scores: list[list[Candidates | None]] | None,
        counts: Counts,
    ) -> dict[str, Any]:
        """The answer that is not streamed, as one object."""

    def _collect(self, into: Collected, choice: ChoiceDelta) -> None:
        self._collect_text(into, choice)
        into.token_ids += choice.token_ids
        into.rows += choice.logprobs or []
        if choice.finish is not None:
            into.finish, into.stop_reason = self._finish(choice), choice.stop_reason

    def _collect_text(self, into: Collected, choice: ChoiceDelta) -> None:
        into.text.append(self._texts[choice.index].take(choice))

    def _running_usage(self) -> bytes:
        prompt = sum(len(p.token_ids) for p in self.prompts)
        counts = Counts(prompt_tokens=prompt, completion_tokens=self._completion_tokens)
        return b',"usage":' + orjson.dumps(self._usage(counts))

    def _usage(self, counts: Counts) -> dict[str, Any]:
        """The usage object: numbers counted at the sampler."""
        return {
            "prompt_tokens": counts.prompt_tokens,
            "completion_tokens": counts.completion_tokens,
            "total_tokens": counts.prompt_tokens + counts.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self._reasoning_tokens()},
        }

    def _reasoning_tokens(self) -> int:
        """Tokens of all choices that were reasoning, as far as the answer has come."""
        return 0

    def _scores(self, rows: list[Candidates | None]) -> list[dict[str, Any] | None]:
        return prompt_logprobs(self.tokenizer, rows, self.params.prompt_logprobs or 0)
