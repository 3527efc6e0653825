"""Growing text of one choice: detokenised, cut at stop tokens and stop strings."""

from __future__ import annotations

from engine.detokenizer import IncrementalDetokenizer
from engine.messages import ChoiceDelta, Finish
from engine.sampling_params import SamplingParams
from engine.tokenizer import Tokenizer


class ChoiceText:
    """Turns a choice's deltas into text that is certain and may be shown."""

    __slots__ = ("_detokenizer", "_include_stop", "_shown", "_watched")

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int], params: SamplingParams) -> None:
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            prompt_ids=prompt_ids,
            skip_special_tokens=params.skip_special_tokens,
        )
        self._include_stop = params.include_stop_str_in_output
        self._watched = bool(params.stop)  # stop strings: the engine says how much to show
        self._shown = 0  # characters

    def take(self, delta: ChoiceDelta) -> str:
        """New text to show. The token that ended the choice counts but is not shown."""
        ids = delta.token_ids
        if self._hides_last(delta):
            ids = ids[:-1]
        piece = self._detokenizer.push(ids) if ids else ""
        if delta.finish is not None:
            piece += self._detokenizer.finish()
        return self._held(delta) if self._watched else piece

    def _hides_last(self, delta: ChoiceDelta) -> bool:
        by_token = delta.finish is Finish.STOP and not isinstance(delta.stop_reason, str)
        return by_token and not self._include_stop

    def _held(self, delta: ChoiceDelta) -> str:
        text = self._detokenizer.text
        end = len(text) if delta.keep_chars is None else min(len(text), delta.keep_chars)
        if end <= self._shown:
            return ""
        new = text[self._shown : end]
        self._shown = end
        return new
