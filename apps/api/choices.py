"""Growing answer of one choice: its text, and what a parser makes of it."""

from __future__ import annotations

from apps.api.parsers import Piece, Pipeline, Reasoning
from engine.detokenizer import IncrementalDetokenizer
from engine.messages import ChoiceDelta, Finish
from engine.sampling_params import SamplingParams
from engine.tokenizer import Tokenizer


class ChoiceText:
    """Turns a choice's deltas into text that is certain and may be shown: detokenised, cut at
    stop tokens and stop strings."""

    __slots__ = ("_detokenizer", "_held", "_include_stop", "_shown", "_watched")

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_ids: list[int],
        params: SamplingParams,
        keep_ids: frozenset[int] = frozenset(),
    ) -> None:
        """`keep_ids`: special tokens that stay in the text, because a parser looks for them."""
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            prompt_ids=prompt_ids,
            skip_special_tokens=params.skip_special_tokens,
            keep_ids=keep_ids,
        )
        self._include_stop = params.include_stop_str_in_output
        self._watched = bool(params.stop)  # stop strings: the engine says how much to show
        self._shown = 0  # characters; counted only where stop strings are watched
        self._held = ""

    def take(self, delta: ChoiceDelta) -> str:
        """New text to show. The token that ended the choice counts but is not shown."""
        ids = delta.token_ids
        if self._hides_last(delta):
            ids = ids[:-1]
        piece = self._detokenizer.push(ids) if ids else ""
        if delta.finish is not None:
            piece += self._detokenizer.finish()
        return self._certain(piece, delta.keep_chars) if self._watched else piece

    def _hides_last(self, delta: ChoiceDelta) -> bool:
        by_token = delta.finish is Finish.STOP and not isinstance(delta.stop_reason, str)
        return by_token and not self._include_stop

    def _certain(self, piece: str, keep_chars: int | None) -> str:
        """The engine counts the characters without the special tokens that we keep."""
        text = self._held + piece
        end = len(text)
        if keep_chars is not None:
            end = max(0, self._detokenizer.chars_until(keep_chars) - self._shown)
        shown, self._held = text[:end], text[end:]
        self._shown += len(shown)
        return shown


class ChoiceReader:
    """Tells reasoning, content and tool calls of one choice apart."""

    __slots__ = ("_pipeline", "_text", "_thought", "_thought_tokens")

    def __init__(self, text: ChoiceText, pipeline: Pipeline) -> None:
        self._text = text
        self._pipeline = pipeline
        self._thought = False
        self._thought_tokens = 0

    @property
    def passes(self) -> bool:
        """The rest of the text is content as it stands: this reader need not be asked again."""
        return self._pipeline.passes

    @property
    def called(self) -> bool:
        """After the last delta: the answer holds complete calls."""
        return self._pipeline.num_calls > 0

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the reasoning with its opening marker."""
        return self._thought_tokens if self._thought else 0

    def take(self, delta: ChoiceDelta) -> list[Piece]:
        """New pieces. However the tokens are spread over deltas, they add up to the same."""
        pipeline = self._pipeline
        pieces: list[Piece] = []
        for part in _one_by_one(delta) if pipeline.thinks else (delta,):
            if text := self._text.take(part):
                pieces += pipeline.push(text)
            if pipeline.reasoning:
                self._thought_tokens += len(part.token_ids)
        if delta.finish is not None:
            pieces += pipeline.finish()
        if not self._thought:
            self._thought = any(isinstance(piece, Reasoning) for piece in pieces)
        return pieces


def _one_by_one(delta: ChoiceDelta) -> list[ChoiceDelta]:
    """A delta of several tokens as deltas of one, so that reasoning tokens can be counted."""
    ids = delta.token_ids
    if len(ids) < 2:
        return [delta]
    parts = [ChoiceDelta(delta.index, [i], keep_chars=delta.keep_chars) for i in ids]
    parts[-1].finish, parts[-1].stop_reason = delta.finish, delta.stop_reason
    return parts
