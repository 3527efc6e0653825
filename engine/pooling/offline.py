"""Prompts in, vectors, classes and scores out: the pooling half of the offline class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from tqdm import tqdm

from engine.core import EngineCore
from engine.errors import InvalidRequest
from engine.messages import EventKind, Finish, QueueBody
from engine.pooling.card import PoolingCard
from engine.pooling.params import PoolingParams, PoolingTask
from engine.sampling_params import SamplingParams
from engine.tokenizer import Tokenizer
from engine.wire_errors import rebuild

if TYPE_CHECKING:  # the offline class loads torch when it builds its engine, not before
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolingOutput:
    """A vector, or a row per token. float32."""

    data: Tensor


@dataclass(frozen=True, slots=True)
class EmbeddingOutput:
    embedding: list[float]

    @property
    def hidden_size(self) -> int:
        return len(self.embedding)


@dataclass(frozen=True, slots=True)
class ClassificationOutput:
    probs: list[float]

    @property
    def num_classes(self) -> int:
        return len(self.probs)


@dataclass(frozen=True, slots=True)
class ScoringOutput:
    score: float


@dataclass(frozen=True, slots=True)
class PooledRequest(Generic[T]):
    """One prompt (or pair) and what came of it."""

    request_id: str
    outputs: T
    prompt_token_ids: list[int]
    finished: bool = True


PoolingRequestOutput = PooledRequest[PoolingOutput]
EmbeddingRequestOutput = PooledRequest[EmbeddingOutput]
ClassificationRequestOutput = PooledRequest[ClassificationOutput]
ScoringRequestOutput = PooledRequest[ScoringOutput]


@dataclass(frozen=True, slots=True)
class Ids:
    """A prompt, and where the second text of a pair begins."""

    token_ids: list[int]
    second_at: int = 0


def card_of(core: EngineCore) -> PoolingCard:
    """Raises `InvalidRequest` for a model that generates."""
    if core.card is None:
        raise InvalidRequest("This model generates text: use generate() or chat().", param="model")
    return core.card


def pool(
    core: EngineCore, prompts: list[Ids], params: PoolingParams, *, bar: bool
) -> list[PoolingRequestOutput]:
    """Run all prompts; results in order. Raises the first refusal and leaves nothing behind."""
    bodies = {f"pool-{i}": _body(core, prompt, params) for i, prompt in enumerate(prompts)}
    found: dict[str, bytes] = {}
    try:
        for rid, body in bodies.items():
            body.rid = rid
            core.submit(body)
        with tqdm(total=len(bodies), desc="Prompts", unit="prompt", disable=not bar) as progress:
            for rid, vector in _vectors(core, len(bodies)):
                found[rid] = vector
                progress.update()
    except BaseException:
        for rid in bodies:
            core.cancel(rid, Finish.CANCELLED)
        while core.has_work():
            core.step()
        raise
    return [
        PooledRequest(rid, PoolingOutput(_tensor(found[rid], body, params)), body.prompts[0])
        for rid, body in bodies.items()
    ]


def _body(core: EngineCore, prompt: Ids, params: PoolingParams) -> QueueBody:
    own = PoolingParams(
        task=params.task,
        dimensions=params.dimensions,
        activate=params.activate,
        second_at=[prompt.second_at] if prompt.second_at else [],
    )
    return QueueBody(
        rid="",
        attempt=1,
        web="",
        model=core.config.model,
        prompts=[prompt.token_ids],
        params=SamplingParams(max_tokens=0),
        pooling=own,
        deadline_ms=0,
    )


def _vectors(core: EngineCore, left: int) -> Iterator[tuple[str, bytes]]:
    while left:
        for delta in core.step():
            if delta.kind is EventKind.REFUSED:
                raise rebuild(delta.error)
            for choice in delta.choices:
                yield delta.rid, choice.vector or b""
                left -= 1


def _tensor(vector: bytes, body: QueueBody, params: PoolingParams) -> Tensor:
    import torch

    values = torch.frombuffer(bytearray(vector), dtype=torch.float32)
    return values.view(len(body.prompts[0]), -1) if params.task.per_token else values


def embeddings(found: list[PoolingRequestOutput]) -> list[EmbeddingRequestOutput]:
    return [
        PooledRequest(
            one.request_id, EmbeddingOutput(one.outputs.data.tolist()), one.prompt_token_ids
        )
        for one in found
    ]


def classifications(found: list[PoolingRequestOutput]) -> list[ClassificationRequestOutput]:
    return [
        PooledRequest(
            one.request_id, ClassificationOutput(one.outputs.data.tolist()), one.prompt_token_ids
        )
        for one in found
    ]


def score(
    core: EngineCore, tokenizer: Tokenizer, sides: tuple[list[str], list[str]], most: int | None,
    *, bar: bool,
) -> list[ScoringRequestOutput]:  # fmt: skip
    """One score per document: one query for all of them, or one each."""
    card, (queries, documents) = card_of(core), sides
    if not documents or len(queries) not in (1, len(documents)):
        raise InvalidRequest(
            f"There are {len(queries)} queries for {len(documents)} documents: give one query, or "
            "as many as documents.",
            param="data_1",
        )
    if card.task is PoolingTask.EMBED:
        return _by_cosine(core, tokenizer, queries, documents, most, bar)
    if not card.scores_pairs:
        raise InvalidRequest("This model cannot score pairs: that takes one label.", param="model")
    each = queries if len(queries) > 1 else queries * len(documents)
    pairs = [
        Ids(*tokenizer.encode_cut(card.cased(q), card.cased(d), most=most))
        for q, d in zip(each, documents, strict=True)
    ]
    found = pool(core, pairs, PoolingParams(task=PoolingTask.CLASSIFY), bar=bar)
    return [
        PooledRequest(
            one.request_id, ScoringOutput(float(one.outputs.data[0])), one.prompt_token_ids
        )
        for one in found
    ]


def _by_cosine(
    core: EngineCore, tokenizer: Tokenizer, queries: list[str], documents: list[str],
    most: int | None, bar: bool,
) -> list[ScoringRequestOutput]:  # fmt: skip
    import torch

    card = card_of(core)
    texts = [
        Ids(tokenizer.encode_cut(card.cased(text), most=most)[0]) for text in (*queries, *documents)
    ]
    found = pool(core, texts, PoolingParams(), bar=bar)
    matrix = torch.stack([one.outputs.data for one in found]).double()
    unit = torch.nn.functional.normalize(matrix, dim=-1)
    firsts, seconds = unit[: len(queries)], unit[len(queries) :]
    scores = (firsts * seconds).sum(-1).tolist()
    return [
        PooledRequest(one.request_id, ScoringOutput(value), one.prompt_token_ids)
        for one, value in zip(found[len(queries) :], scores, strict=True)
    ]
