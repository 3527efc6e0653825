"""Bytes of text completions, with echo and the older logprobs form."""

from __future__ import annotations

from typing import Any

import orjson

from apps.api.answers import OPEN, PLAIN, Answer, Collected, Wishes
from apps.api.logprobs import Candidates, CompletionLogprobs
from apps.api.prompt import Prompt
from apps.api.schemas import CompletionBody
from engine.messages import ChoiceDelta, Counts, Delta
from engine.sampling_params import SamplingParams
from engine.tokenizer import Tokenizer


class CompletionAnswer(Answer):
    """text_completion, with echo and the older logprobs form."""

    prefix = "cmpl-"
    chunk_object = "text_completion"

    def __init__(
        self, rid: str, body: CompletionBody, tokenizer: Tokenizer, params: SamplingParams,
        prompts: list[Prompt], wishes: Wishes = PLAIN,
    ) -> None:  # fmt: skip
        super().__init__(rid, body.model, tokenizer, params, prompts, wishes=wishes)
        self._echo = body.echo
        self._untold = set(range(self.width)) if wishes.return_ids else set()
        self._asked_scores = body.prompt_logprobs is not None
        self._with_logprobs = params.scored
        self._columns = [
            CompletionLogprobs(self.names, body.logprob_token_ids or body.logprobs or 0)
            for _ in range(self.width)
        ]
        self._waiting: list[ChoiceDelta] | None = None  # until the prompt's logprobs are here

    def opening(self) -> bytes:
        if not self._echo:
            return b""
        if self._with_logprobs:
            self._waiting = []
            return b""
        return b"".join(
            self._event(i, self._shown(self.prompts[i // self.params.n].text or ""), b"", OPEN)
            for i in range(self.width)
        )

    def chunks(self, delta: Delta) -> bytes:
        if self._waiting is None:
            return super().chunks(delta)
        self._waiting += delta.choices
        if delta.prompt_logprobs is None:
            return b""
        held, self._waiting = self._waiting, None
        return self._echoes(delta.prompt_logprobs) + b"".join(map(self._chunk, held))

    def _echoes(self, scores: list[list[Candidates | None]]) -> bytes:
        out = []
        for index in range(self.width):
            prompt = self.prompts[index // self.params.n]
            columns = self._columns[index].columns(scores[index // self.params.n], prompt.token_ids)
            logprobs = b',"logprobs":' + orjson.dumps(columns)
            out.append(self._event(index, self._shown(prompt.text or ""), logprobs, OPEN))
        return b"".join(out)

    def _shown(self, text: str) -> bytes:
        return b'"text":' + orjson.dumps(text)

    def _ids(self, choice: ChoiceDelta) -> bytes:
        """The prompt's ids come once, with the first chunk that holds tokens."""
        found = super()._ids(choice)
        if choice.index in self._untold:
            self._untold.remove(choice.index)
            prompt = self.prompts[choice.index // self.params.n]
            found += b',"prompt_token_ids":' + orjson.dumps(prompt.token_ids)
        return found

    def _logprobs(self, choice: ChoiceDelta) -> bytes:
        rows: list[Candidates | None] = list(choice.logprobs or [])
        return b',"logprobs":' + orjson.dumps(
            self._columns[choice.index].columns(rows, choice.token_ids)
        )

    def _whole(
        self,
        choices: list[Collected],
        scores: list[list[Candidates | None]] | None,
        counts: Counts,
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [self._choice(i, choice, scores) for i, choice in enumerate(choices)],
            "usage": self._usage(counts),
        }

    def _choice(
        self, index: int, choice: Collected, scores: list[list[Candidates | None]] | None
    ) -> dict[str, Any]:
        prompt = self.prompts[index // self.params.n]
        rows = [] if scores is None else scores[index // self.params.n]
        found: dict[str, Any] = {
            "index": index,
            "text": (prompt.text or "" if self._echo else "") + "".join(choice.text),
            "logprobs": None,
            "finish_reason": choice.finish,
            "stop_reason": choice.stop_reason,
        }
        if self._with_logprobs:
            echoed = (rows, prompt.token_ids) if self._echo else ([], [])
            found["logprobs"] = self._columns[index].columns(
                [*echoed[0], *choice.rows], [*echoed[1], *choice.token_ids]
            )
        if self.wishes.return_ids:
            found |= {"token_ids": choice.token_ids, "prompt_token_ids": prompt.token_ids}
        if self._asked_scores:
            found["prompt_logprobs"] = self._scores(rows)
        return found
