"""Logprobs in the two forms of the OpenAI API. Values are natural logs, floored at -9999."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.messages import TokenLogprob
from engine.tokenizer import Tokenizer

FLOOR = -9999.0
Candidates = list[TokenLogprob]  # of one position; the chosen token is first
Top = int | list[int]  # so many of the likeliest, or these tokens


@dataclass(frozen=True, slots=True)
class Names:
    """How answers name tokens: by their text, or as `token_id:N`."""

    tokenizer: Tokenizer
    by_id: bool = False

    def of(self, token_id: int) -> str:
        return f"token_id:{token_id}" if self.by_id else self.tokenizer.token_text(token_id)


def chat_logprobs(names: Names, rows: list[Candidates], top: Top) -> list[dict[str, Any]]:
    """`choices[].logprobs.content`: one entry per token, with `top` beside it."""
    return [
        {
            **_chat_entry(names, row[0]),
            "top_logprobs": [_chat_entry(names, c) for c in _top(row, top)],
        }
        for row in rows
    ]


def _chat_entry(names: Names, candidate: TokenLogprob) -> dict[str, Any]:
    return {
        "token": names.of(candidate.token_id),
        "logprob": max(candidate.logprob, FLOOR),
        "bytes": list(names.tokenizer.token_bytes(candidate.token_id)),
    }


class CompletionLogprobs:
    """The columns of the completions form. `offset` counts characters of the shown text."""

    def __init__(self, names: Names, top: Top, offset: int = 0) -> None:
        self._names = names
        self._top = top
        self._offset = offset

    def columns(self, rows: list[Candidates | None], ids: list[int]) -> dict[str, list[Any]]:
        """One entry per token of `ids`; a row is None for the very first prompt token."""
        found: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "text_offset": [],
            "top_logprobs": [],
        }
        for token_id, row in zip(ids, rows, strict=True):
            text = self._names.tokenizer.token_text(token_id)
            found["tokens"].append(self._names.of(token_id) if self._names.by_id else text)
            found["text_offset"].append(self._offset)
            found["token_logprobs"].append(None if row is None else max(row[0].logprob, FLOOR))
            found["top_logprobs"].append(None if row is None else self._by_text(row))
            self._offset += len(text)
        return found

    def _by_text(self, row: Candidates) -> dict[str, float]:
        """Text → logprob of `top`; the chosen token is always among the likeliest."""
        shown = _top(row, self._top)
        if isinstance(self._top, int):
            shown.append(row[0])
        return {self._names.of(c.token_id): max(c.logprob, FLOOR) for c in shown}


def prompt_logprobs(
    tokenizer: Tokenizer, rows: list[Candidates | None], top: int
) -> list[dict[str, Any] | None]:
    """The `prompt_logprobs` extension: token id → logprob, rank and text, per position."""
    return [
        None
        if row is None
        else {
            str(c.token_id): {
                "logprob": max(c.logprob, FLOOR),
                "rank": c.rank,
                "decoded_token": tokenizer.token_text(c.token_id),
            }
            for c in [row[0], *_top(row, top)]
        }
        for row in rows
    ]


def _top(row: Candidates, top: Top) -> Candidates:
    """What `top` asks for, in order, each once; the chosen token only if it is one of them."""
    if isinstance(top, list):
        by_id = {c.token_id: c for c in row}
        return [by_id[token_id] for token_id in dict.fromkeys(top)]
    ranked = {c.token_id: c for c in row if c.rank <= top}
    return sorted(ranked.values(), key=lambda c: c.rank)
