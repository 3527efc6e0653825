"""Logprobs in the two forms of the OpenAI API. Values are natural logs, floored at -9999."""

from __future__ import annotations

from typing import Any

from engine.messages import TokenLogprob
from engine.tokenizer import Tokenizer

FLOOR = -9999.0
Candidates = list[TokenLogprob]  # of one position; the chosen token is first


def chat_logprobs(tokenizer: Tokenizer, rows: list[Candidates], top: int) -> list[dict[str, Any]]:
    """`choices[].logprobs.content`: one entry per token, with the `top` likeliest beside it."""
    return [
        {
            **_chat_entry(tokenizer, row[0]),
            "top_logprobs": [_chat_entry(tokenizer, c) for c in _top(row, top)],
        }
        for row in rows
    ]


def _chat_entry(tokenizer: Tokenizer, candidate: TokenLogprob) -> dict[str, Any]:
    return {
        "token": tokenizer.token_text(candidate.token_id),
        "logprob": max(candidate.logprob, FLOOR),
        "bytes": list(tokenizer.token_bytes(candidate.token_id)),
    }


class CompletionLogprobs:
    """The columns of the completions form. `offset` counts characters of the shown text."""

    def __init__(self, tokenizer: Tokenizer, top: int, offset: int = 0) -> None:
        self._tokenizer = tokenizer
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
            token = self._tokenizer.token_text(token_id)
            found["tokens"].append(token)
            found["text_offset"].append(self._offset)
            found["token_logprobs"].append(None if row is None else max(row[0].logprob, FLOOR))
            found["top_logprobs"].append(None if row is None else self._by_text(row))
            self._offset += len(token)
        return found

    def _by_text(self, row: Candidates) -> dict[str, float]:
        """Text → logprob of the likeliest; the chosen token is always among them."""
        chosen = [*_top(row, self._top), row[0]]
        return {self._tokenizer.token_text(c.token_id): max(c.logprob, FLOOR) for c in chosen}


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


def _top(row: Candidates, top: int) -> Candidates:
    """The `top` likeliest in order, each once; the chosen token only if it is one of them."""
    ranked = {c.token_id: c for c in row if c.rank <= top}
    return sorted(ranked.values(), key=lambda c: c.rank)
