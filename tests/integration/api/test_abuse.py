"""A slice of the abuse corpus, every class of it. The whole: `python -m tests.abuse`."""

from __future__ import annotations

import httpx

from tests.abuse.asking import Seen, ask_all, ask_frames
from tests.abuse.corpus import Bad, corpus
from tests.stack import MODEL, Stack

OF_EACH = 3  # of a class
COMPILED = {"grammar", "expression", "schema", "response format"}  # by the real engine only


def slice_of(every: tuple[Bad, ...]) -> list[Bad]:
    """Up to `OF_EACH` of each class, spread over its routes."""
    kinds: dict[str, list[Bad]] = {}
    for bad in every:
        if bad.kind not in COMPILED:
            kinds.setdefault(bad.kind, []).append(bad)
    return [bad for of_kind in kinds.values() for bad in of_kind[:: -(-len(of_kind) // OF_EACH)]]


def test_the_corpus_is_large_and_broad() -> None:
    every = corpus()
    assert len(every) >= 400
    assert len({bad.kind for bad in every}) >= 35


def test_each_class_is_refused_in_clear_words(stack: Stack, client: httpx.Client) -> None:
    seen = Seen()
    ask_all(stack.base, stack.keys, MODEL, slice_of(corpus()), seen)
    ask_frames(stack.base, stack.keys["full"], MODEL, seen)
    assert not seen.wrong, "\n".join(seen.wrong)
    body = {"model": MODEL, "prompt": "a", "max_tokens": 1}
    assert client.post("/v1/completions", json=body).status_code == 200


def test_a_text_that_cannot_fit_is_refused_by_its_length(client: httpx.Client) -> None:
    body = {"model": MODEL, "prompt": "word " * 100_000}
    error = client.post("/v1/completions", json=body).json()["error"]
    assert (error["param"], error["code"]) == ("prompt", "context_length_exceeded")
    assert error["message"].startswith("The prompt has 500000 characters; tiny takes 2048 tokens")
