"""Deltas of one request → the `RequestOutput` that library users read."""

from __future__ import annotations

from engine.detokenizer import IncrementalDetokenizer
from engine.messages import ChoiceDelta, Delta, EventKind, Finish, TokenLogprob
from engine.outputs import CompletionOutput, Logprob, PositionLogprobs, RequestOutput
from engine.sampling_params import SamplingParams
from engine.tokenizer import Tokenizer
from engine.wire_errors import rebuild

REASONS = {Finish.CANCELLED: "abort", Finish.LOST: "abort", Finish.ERROR: "error"}


class OutputBuilder:
    """Grows the output of one prompt; one detokenizer per choice."""

    def __init__(
        self,
        output: RequestOutput,
        params: SamplingParams,
        tokenizer: Tokenizer | None,
    ) -> None:
        self.output = output
        scored = params.scored
        output.outputs = [
            CompletionOutput(i, "", [], 0.0 if scored else None, [] if scored else None)
            for i in range(params.n)
        ]
        self._include_stop = params.include_stop_str_in_output
        self._tokenizer = tokenizer if params.detokenize else None
        self._texts: list[IncrementalDetokenizer] = []
        if tokenizer is not None and params.detokenize:
            self._texts = [
                IncrementalDetokenizer(
                    tokenizer,
                    prompt_ids=output.prompt_token_ids,
                    skip_special_tokens=params.skip_special_tokens,
                )
                for _ in range(params.n)
            ]

    def add(self, delta: Delta) -> None:
        """Take one event. Raises the refusal as the `PagodaError` it was."""
        if delta.kind is EventKind.REFUSED:
            raise rebuild(delta.error)
        for choice in delta.choices:
            self._add_choice(choice)
        if delta.prompt_logprobs is not None:
            self.output.prompt_logprobs = [
                None if candidates is None else self._by_token(candidates)
                for candidates in delta.prompt_logprobs[0]
            ]
        if delta.kind is EventKind.END:
            self.output.finished = True
        if delta.counts is not None:
            self.output.num_cached_tokens = delta.counts.cached_tokens

    def _add_choice(self, delta: ChoiceDelta) -> None:
        choice = self.output.outputs[delta.index]
        choice.token_ids += delta.token_ids
        if delta.logprobs is not None and choice.logprobs is not None:
            choice.logprobs += [self._by_token(candidates) for candidates in delta.logprobs]
            gained = sum(candidates[0].logprob for candidates in delta.logprobs)
            choice.cumulative_logprob = (choice.cumulative_logprob or 0.0) + gained
        if delta.finish is not None:
            choice.finish_reason = REASONS.get(delta.finish, delta.finish.value)
            choice.stop_reason = delta.stop_reason
        if self._texts:
            choice.text = self._text(self._texts[delta.index], delta)

    def _text(self, stream: IncrementalDetokenizer, delta: ChoiceDelta) -> str:
        """All text of the choice so far. A token that stopped it is shown only on request."""
        stopped_by_token = delta.finish is Finish.STOP and delta.keep_chars is None
        hidden = stopped_by_token and not self._include_stop
        stream.push(delta.token_ids[:-1] if hidden else delta.token_ids)
        if delta.finish is not None and delta.keep_chars is None:
            stream.finish()
        return stream.text if delta.keep_chars is None else stream.text[: delta.keep_chars]

    def _by_token(self, candidates: list[TokenLogprob]) -> PositionLogprobs:
        spell = self._tokenizer.token_text if self._tokenizer is not None else lambda _id: None
        return {
            c.token_id: Logprob(c.logprob, c.rank or None, spell(c.token_id)) for c in candidates
        }
