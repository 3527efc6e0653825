"""/v1/embeddings, /pooling, /classify, /score and /rerank: one request, one answer, no tokens."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from apps.api import pooling_answers, pooling_prompts
from apps.api.admission import Call, admission_for
from apps.api.consumers import EngineConsumer, Opened
from apps.api.pooling_answers import PoolingAnswer, Shape
from apps.api.pooling_bodies import (
    ClassifyBody,
    EmbeddingBody,
    InputBody,
    PoolBody,
    PoolingBody,
    RerankBody,
    ScoreBody,
    read_input,
    read_rerank,
    read_score,
)
from apps.api.pooling_prompts import Pair, PoolingPrompt
from apps.api.prompt import Prompt
from apps.api.replies import JSON
from apps.api.selectors import KeySnapshot
from apps.api.writer import Headers, ResponseWriter
from apps.models.catalog import CatalogModel
from engine.client import Admission
from engine.errors import InvalidRequest
from engine.messages import Counts
from engine.pooling.card import PoolingCard
from engine.pooling.params import PoolingParams, PoolingTask, names_of
from engine.sampling_params import SamplingParams

FLOAT_CHARS = 12  # of JSON
MAX_FLOATS = 1 << 22  # of one answer with a row per token


class PoolingConsumer(EngineConsumer[Any]):
    """Reads, checks and admits as generation does; the engine answers with vectors."""

    prefix: ClassVar[str]

    async def _prepare(self, call: Call, key: KeySnapshot) -> tuple[PoolingAnswer, Admission]:
        runtime = self.runtime
        body: Any = call.body
        model = await runtime.models.target(body.model, key)
        epoch = runtime.models.catalog.epoch
        card = card_of(model)
        if body.priority and not model.by_priority:
            raise InvalidRequest(
                f"'priority' must be 0: {model.name!r} runs requests in order of arrival.",
                param="priority",
            )
        pooling = self.pooling(body, card)
        card.check(pooling)
        prompts, shape = await self.work(body, card, model, pooling)
        pooling.second_at = [p.second_at for p in prompts] if any(_seconds(prompts)) else []
        numbers = _numbers(prompts, card, pooling)
        idle = body.use_activation is not None and pooling.activate is None  # cosines have none
        answer = PoolingAnswer(
            f"{self.prefix}{call.rid}",
            body.model,
            len(prompts),
            numbers,
            shape,
            unmet=("use_activation",) if idle else (),
        )
        admission = admission_for(
            call,
            SamplingParams(max_tokens=0),
            [Prompt(prompt.token_ids) for prompt in prompts],
            model,
            key,
            catalog_epoch=epoch,
            price=runtime.models.prices.of(model.name, model.base),
            settings=runtime.settings,
        )
        admission.body.pooling = pooling
        return answer, admission

    async def _whole(self, opened: Opened, headers: Headers, writer: ResponseWriter) -> None:
        deltas = await opened.stream.whole()
        counts = opened.stream.counts or Counts()
        answer: Any = opened.answer
        body = await self.runtime.prompts.near(
            FLOAT_CHARS * answer.floats, lambda: answer.whole(deltas, counts)
        )
        timing = b"queue;dur=%d, total;dur=%d" % (counts.queue_ms, counts.total_ms)
        await writer.whole(200, [JSON, *headers, (b"server-timing", timing)], body)

    @abstractmethod
    def pooling(self, body: Any, card: PoolingCard) -> PoolingParams:
        """What the engine shall do; whether the model can is checked after."""

    @abstractmethod
    async def work(
        self, body: Any, card: PoolingCard, model: CatalogModel, pooling: PoolingParams
    ) -> tuple[list[PoolingPrompt], Shape]:
        """The prompts, and how their vectors become an answer."""


class Embeddings(PoolingConsumer):
    """POST /v1/embeddings."""

    route, prefix = "/v1/embeddings", "embd-"

    def parse(self, data: bytes) -> tuple[EmbeddingBody, list[str]]:
        return read_input(EmbeddingBody, data, self.runtime.caps)

    def pooling(self, body: EmbeddingBody, card: PoolingCard) -> PoolingParams:
        return embedding_params(body, PoolingTask.EMBED)

    async def work(
        self, body: EmbeddingBody, card: PoolingCard, model: CatalogModel, pooling: PoolingParams
    ) -> tuple[list[PoolingPrompt], Shape]:
        prompts = await pooling_prompts.of_input(self.runtime.prompts, body, model, card)
        return prompts, pooling_answers.embeddings(body.encoding_format)


class Pooling(PoolingConsumer):
    """POST /pooling."""

    route, prefix = "/pooling", "pool-"

    def parse(self, data: bytes) -> tuple[PoolBody, list[str]]:
        return read_input(PoolBody, data, self.runtime.caps)

    def pooling(self, body: PoolBody, card: PoolingCard) -> PoolingParams:
        return embedding_params(body, body.task or card.task)

    async def work(
        self, body: PoolBody, card: PoolingCard, model: CatalogModel, pooling: PoolingParams
    ) -> tuple[list[PoolingPrompt], Shape]:
        prompts = await pooling_prompts.of_input(self.runtime.prompts, body, model, card)
        columns = 0
        if pooling.task.per_token:
            columns = pooling.dimensions or card.width(pooling.task)
            _check_size(prompts, columns)
        return prompts, pooling_answers.pooled(body.encoding_format, columns)


class Classify(PoolingConsumer):
    """POST /classify."""

    route, prefix = "/classify", "classify-"

    def parse(self, data: bytes) -> tuple[ClassifyBody, list[str]]:
        return read_input(ClassifyBody, data, self.runtime.caps)

    def pooling(self, body: InputBody, card: PoolingCard) -> PoolingParams:
        return PoolingParams(task=PoolingTask.CLASSIFY, activate=body.use_activation)

    async def work(
        self, body: InputBody, card: PoolingCard, model: CatalogModel, pooling: PoolingParams
    ) -> tuple[list[PoolingPrompt], Shape]:
        prompts = await pooling_prompts.of_input(self.runtime.prompts, body, model, card)
        return prompts, pooling_answers.classes(card)


class Score(PoolingConsumer):
    """POST /score: a cross-encoder reads each pair, a bi-encoder each text once."""

    route, prefix = "/score", "score-"

    def parse(self, data: bytes) -> tuple[ScoreBody, list[str]]:
        return read_score(data, self.runtime.caps)

    def pooling(self, body: PoolingBody, card: PoolingCard) -> PoolingParams:
        return scoring_params(body, card)

    async def work(
        self, body: ScoreBody, card: PoolingCard, model: CatalogModel, pooling: PoolingParams
    ) -> tuple[list[PoolingPrompt], Shape]:
        queries, documents = body.sides()
        prompts, pairing = await self.pairs(body, queries, documents, card, model)
        return prompts, pooling_answers.scores(pairing)

    async def pairs(
        self, body: Any, queries: list[str], documents: list[str], card: PoolingCard,
        model: CatalogModel,
    ) -> tuple[list[PoolingPrompt], Any]:  # fmt: skip
        """Prompts, and what makes one score per document of their vectors."""
        pool, caps = self.runtime.prompts, (body.max_tokens_per_query, body.max_tokens_per_doc)
        if card.task is PoolingTask.EMBED:
            prompts: list[PoolingPrompt] = []
            for side, name, most in zip((queries, documents), body.side_names, caps, strict=True):
                prompts += await pooling_prompts.of_texts(
                    pool, side, most, body, model, card, name=name
                )
            return prompts, pooling_answers.cosines(len(queries))
        each = queries if len(queries) > 1 else queries * len(documents)
        pairs = [Pair(q, d, *caps) for q, d in zip(each, documents, strict=True)]
        prompts = await pooling_prompts.of_pairs(pool, pairs, body, model, card)
        return prompts, pooling_answers.single


class ScoreV1(Score):
    """The same under /v1."""

    route = "/v1/score"


class Rerank(Score):
    """POST /rerank."""

    route, prefix = "/rerank", "rerank-"

    def parse(self, data: bytes) -> tuple[Any, list[str]]:
        return read_rerank(data, self.runtime.caps)

    async def work(
        self, body: Any, card: PoolingCard, model: CatalogModel, pooling: PoolingParams
    ) -> tuple[list[PoolingPrompt], Shape]:
        asked: RerankBody = body
        prompts, pairing = await self.pairs(asked, [asked.query], asked.documents, card, model)
        shape = pooling_answers.ranking(
            pairing, asked.documents, asked.top_n, asked.return_documents
        )
        return prompts, shape


class RerankV1(Rerank):
    """The same under /v1."""

    route = "/v1/rerank"


class RerankV2(Rerank):
    """The same under /v2, where Cohere's clients look."""

    route = "/v2/rerank"


POOLING_CONSUMERS = (
    Embeddings, Pooling, Classify, Score, ScoreV1, Rerank, RerankV1, RerankV2,
)  # fmt: skip


def card_of(model: CatalogModel) -> PoolingCard:
    """Raises `InvalidRequest` for a model that generates."""
    if model.pooling is None:
        raise InvalidRequest(
            f"The model {model.name!r} generates text; it is not for embedding, classifying or "
            "scoring. Use /v1/chat/completions, or name another model.",
            param="model",
        )
    return model.pooling


def embedding_params(body: EmbeddingBody, task: PoolingTask) -> PoolingParams:
    return PoolingParams(task=task, dimensions=body.dimensions, activate=body.use_activation)


def scoring_params(body: PoolingBody, card: PoolingCard) -> PoolingParams:
    """Raises `InvalidRequest` unless the model embeds, or gives one number per pair."""
    if card.task is PoolingTask.EMBED:
        return PoolingParams(task=PoolingTask.EMBED)
    if not card.scores_pairs:
        raise InvalidRequest(
            "This model cannot score pairs: that takes a model with one label, or one that "
            f"embeds; this one is for {names_of(card.tasks)}.",
            param="model",
        )
    return PoolingParams(task=PoolingTask.CLASSIFY, activate=body.use_activation)


def _check_size(prompts: list[PoolingPrompt], columns: int) -> None:
    """Matrices are large: an answer holds so many numbers and no more."""
    numbers = columns * sum(len(prompt.token_ids) for prompt in prompts)
    if numbers > MAX_FLOATS:
        raise InvalidRequest(
            f"The answer would hold {numbers} numbers; at most {MAX_FLOATS} fit. Send fewer or "
            "shorter inputs.",
            param="input",
        )


def _seconds(prompts: list[PoolingPrompt]) -> list[int]:
    return [prompt.second_at for prompt in prompts]


def _numbers(prompts: list[PoolingPrompt], card: PoolingCard, pooling: PoolingParams) -> int:
    width = pooling.dimensions or card.width(pooling.task)
    rows = sum(len(p.token_ids) for p in prompts) if pooling.task.per_token else len(prompts)
    return width * rows
