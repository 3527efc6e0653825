"""JSON of vectors, classes and scores."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from apps.api.errors import json_of
from engine.errors import PagodaError
from engine.messages import Counts, Delta
from engine.pooling.card import PoolingCard

Vector = NDArray[np.float32]
Shape = Callable[[list[bytes], dict[str, int]], dict[str, Any]]


@dataclass(slots=True)
class PoolingAnswer:
    """Puts one answer together; `shape` turns vectors and usage into its fields."""

    id: str
    model: str
    width: int  # prompts
    floats: int  # numbers that will come, for the choice between loop and thread
    shape: Shape
    unmet: tuple[str, ...] = ()  # fields that change nothing in this answer

    def whole(self, deltas: Iterable[Delta], counts: Counts) -> bytes:
        vectors = [b""] * self.width
        for delta in deltas:
            for choice in delta.choices:
                vectors[choice.index] = choice.vector or b""
        usage = {"prompt_tokens": counts.prompt_tokens, "total_tokens": counts.prompt_tokens}
        body = {"id": self.id, "created": int(time.time()), "model": self.model}
        return orjson.dumps(body | self.shape(vectors, usage), option=orjson.OPT_SERIALIZE_NUMPY)

    def failure(self, error: PagodaError) -> bytes:
        """Never sent: an answer that is not streamed has no open stream to fail in."""
        return json_of(error)


def embeddings(encoding: str) -> Shape:
    """One vector per prompt, as numbers or as base64 of little-endian float32."""

    def shape(vectors: list[bytes], usage: dict[str, int]) -> dict[str, Any]:
        data = [
            {"index": i, "object": "embedding", "embedding": _encoded(vector, encoding, 0)}
            for i, vector in enumerate(vectors)
        ]
        return {"object": "list", "data": data, "usage": usage}

    return shape


def pooled(encoding: str, columns: int) -> Shape:
    """As `embeddings`; with `columns`, rows of so many numbers."""

    def shape(vectors: list[bytes], usage: dict[str, int]) -> dict[str, Any]:
        data = [
            {"index": i, "object": "pooling", "data": _encoded(vector, encoding, columns)}
            for i, vector in enumerate(vectors)
        ]
        return {"object": "list", "data": data, "usage": usage}

    return shape


def classes(card: PoolingCard) -> Shape:
    """The likeliest label, and a score for each."""

    def shape(vectors: list[bytes], usage: dict[str, int]) -> dict[str, Any]:
        data = [_class(i, floats(vector), card) for i, vector in enumerate(vectors)]
        return {"object": "list", "data": data, "usage": usage}

    return shape


def scores(pairing: Callable[[list[Vector]], list[float]]) -> Shape:
    """One score per pair."""

    def shape(vectors: list[bytes], usage: dict[str, int]) -> dict[str, Any]:
        found = pairing([floats(vector) for vector in vectors])
        data = [{"index": i, "object": "score", "score": score} for i, score in enumerate(found)]
        return {"object": "list", "data": data, "usage": usage}

    return shape


def ranking(
    pairing: Callable[[list[Vector]], list[float]], documents: list[str], top_n: int | None,
    with_text: bool,
) -> Shape:  # fmt: skip
    """Documents from the best to the worst; equal ones in the order they came."""

    def shape(vectors: list[bytes], usage: dict[str, int]) -> dict[str, Any]:
        found = pairing([floats(vector) for vector in vectors])
        order = sorted(range(len(found)), key=lambda i: -found[i])[: top_n or None]
        results = [
            {"index": i, "relevance_score": found[i]}
            | ({"document": {"text": documents[i]}} if with_text else {})
            for i in order
        ]
        return {"results": results, "usage": usage}

    return shape


def single(vectors: list[Vector]) -> list[float]:
    """Scores of a cross-encoder: each prompt was a pair."""
    return [float(vector[0]) for vector in vectors]


def cosines(num_queries: int) -> Callable[[list[Vector]], list[float]]:
    """Scores of a bi-encoder: the queries' vectors come first, one for all or one each."""

    def pairing(vectors: list[Vector]) -> list[float]:
        queries, documents = vectors[:num_queries], vectors[num_queries:]
        return [
            _cosine(queries[i if num_queries > 1 else 0], document)
            for i, document in enumerate(documents)
        ]

    return pairing


def floats(vector: bytes) -> Vector:
    return np.frombuffer(vector, "<f4").astype(np.float32, copy=False)


def _encoded(vector: bytes, encoding: str, columns: int) -> str | Vector:
    if encoding == "base64":
        return b64encode(vector).decode()
    return floats(vector).reshape(-1, columns) if columns else floats(vector)


def _class(index: int, probs: Vector, card: PoolingCard) -> dict[str, Any]:
    return {
        "index": index,
        "label": card.labels[int(probs.argmax())],
        "probs": probs,
        "num_classes": len(probs),
    }


def _cosine(a: Vector, b: Vector) -> float:
    """In double precision; 0 where a vector has no direction."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    size = float(np.linalg.norm(wide_a) * np.linalg.norm(wide_b))
    return float(wide_a @ wide_b) / size if size else 0.0
