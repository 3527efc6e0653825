"""One prompt on its way to the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the engine takes it. `text` is kept only where the answer echoes it."""

    token_ids: list[int]
    text: str | None = None
    tail: str = ""  # the end of a rendered conversation

    def cut(self, most_tokens: int, side: str, tokenizer: Tokenizer) -> Prompt:
        """At most so many tokens: the last ones, or with `side` "right" the first."""
        if len(self.token_ids) <= most_tokens:
            return self
        ids = self.token_ids[:most_tokens] if side == "right" else self.token_ids[-most_tokens:]
        if self.text is None:
            return replace(self, token_ids=ids)
        return replace(self, token_ids=ids, text=tokenizer.decode(ids))
