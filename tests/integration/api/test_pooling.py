"""The routes for vectors, classes and scores, answered by the real engine on tiny models."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import redis
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForSequenceClassification

from apps.api.pooling_consumers import POOLING_CONSUMERS
from engine import redis_keys
from engine.messages import EngineBeat, Finish, UsageEvent, unpack
from tests.fields import Facts, accepted, check_row
from tests.integration.api.poolers import POOLERS, register, running
from tests.integration.api.pooling_table import BEGUN, ROUTES, TALK
from tests.stack import Stack

TEXTS = ["the cat", "paris is the capital of france.", "a dog, a cat and 7 dogs!"]


@pytest.fixture(scope="module")
def folders(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Every pooling model served; name → folder."""
    with ExitStack() as opened:
        made = {
            pooler.name: opened.enter_context(
                running(stack, pooler, tmp_path_factory.mktemp(pooler.name))
            )
            for pooler in POOLERS
        }
        register(stack, made)
        yield made


@pytest.fixture(scope="module")
def http(stack: Stack, folders: dict[str, Path]) -> Iterator[httpx.Client]:
    """One for the many rows of the table."""
    with stack.http() as made:
        yield made


@pytest.fixture
def ask(client: httpx.Client, folders: dict[str, Path], stack: Stack) -> Any:
    """Post a body; the answer, which must be a 200."""

    def post(path: str, model: str, **body: Any) -> Any:
        reply = client.post(path, json={"model": model, **body})
        assert reply.status_code == 200, reply.text + stack.log("web")[-2000:]
        return reply.json()

    return post


@pytest.fixture
def refused(client: httpx.Client, folders: dict[str, Path]) -> Any:
    """Post a body; the error of its 400."""

    def post(path: str, model: str, **body: Any) -> Any:
        reply = client.post(path, json={"model": model, **body})
        assert reply.status_code == 400, reply.text
        return reply.json()["error"]

    return post


@cache
def loaded(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder)


@torch.inference_mode()
def embedding(folder: Path, text: str) -> Any:
    """CLS of transformers' model, normalised."""
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    hidden = loaded(AutoModel, folder)(torch.tensor([ids])).last_hidden_state
    return torch.nn.functional.normalize(hidden[0, 0], dim=0).numpy()


@torch.inference_mode()
def logits(folder: Path, text: str, second: str | None = None) -> Any:
    found = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, second)
    model = loaded(AutoModelForSequenceClassification, folder)
    return model(torch.tensor([found.ids]), token_type_ids=torch.tensor([found.type_ids])).logits[0]


def vectors(answer: Any) -> Any:
    return np.array([item["embedding"] for item in answer["data"]], np.float32)


def test_embeddings_are_those_of_transformers(ask: Any, folders: dict[str, Path]):
    answer = ask("/v1/embeddings", "embedder", input=TEXTS)
    expected = [embedding(folders["embedder"], text) for text in TEXTS]
    np.testing.assert_allclose(vectors(answer), expected, atol=1e-4)
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 20


def test_token_ids_and_texts_give_the_same_embedding(ask: Any, folders: dict[str, Path]):
    tokenizer = Tokenizer.from_file(str(folders["embedder"] / "tokenizer.json"))
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    texts = vectors(ask("/v1/embeddings", "embedder", input=TEXTS))
    assert (vectors(ask("/v1/embeddings", "embedder", input=ids)) == texts).all()
    assert (vectors(ask("/v1/embeddings", "embedder", input=ids[0])) == texts[:1]).all()
    assert (vectors(ask("/v1/embeddings", "embedder", input=TEXTS[0])) == texts[:1]).all()


def test_base64_holds_little_endian_floats(ask: Any):
    plain = vectors(ask("/v1/embeddings", "embedder", input=TEXTS))
    coded = ask("/v1/embeddings", "embedder", input=TEXTS, encoding_format="base64")
    for item, vector in zip(coded["data"], plain, strict=True):
        assert base64.b64decode(item["embedding"]) == vector.astype("<f4").tobytes()


def test_dimensions_cut_and_normalise_again(ask: Any):
    whole = vectors(ask("/v1/embeddings", "embedder", input="the cat"))[0]
    short = vectors(ask("/v1/embeddings", "embedder", input="the cat", dimensions=16))[0]
    np.testing.assert_allclose(short, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-6)


def test_use_activation_false_leaves_the_length_of_the_vector(ask: Any):
    body = {"input": "the cat", "use_activation": False}
    raw = vectors(ask("/v1/embeddings", "embedder", **body))[0]
    assert abs(np.linalg.norm(raw) - 1) > 0.1


def test_the_openai_client_gets_floats(stack: Stack, folders: dict[str, Path]):
    with openai.OpenAI(base_url=f"{stack.base}/v1", api_key=stack.keys["plain"]) as made:
        found = made.embeddings.create(model="embedder", input=TEXTS)
    np.testing.assert_allclose(
        found.data[1].embedding, embedding(folders["embedder"], TEXTS[1]), atol=1e-4
    )
    assert found.object == "list"
    assert found.usage.prompt_tokens == found.usage.total_tokens


def test_classes_have_labels_and_probabilities(ask: Any, folders: dict[str, Path]):
    answer = ask("/classify", "classifier", input=TEXTS)
    for item, text in zip(answer["data"], TEXTS, strict=True):
        expected = logits(folders["classifier"], text).softmax(-1).numpy()
        np.testing.assert_allclose(item["probs"], expected, atol=1e-4)
        assert item["label"] == ("bad", "so-so", "good")[int(expected.argmax())]
        assert item["num_classes"] == 3


def test_pooling_gives_vectors_and_matrices(ask: Any):
    rows = ask("/pooling", "embedder", input="the cat", task="token_embed", use_activation=False)
    first = ask("/pooling", "embedder", input="the cat", use_activation=False)
    assert len(rows["data"][0]["data"]) == rows["usage"]["prompt_tokens"] == 4
    assert rows["data"][0]["data"][0] == first["data"][0]["data"]
    tags = ask("/pooling", "tagger", input="the cat", encoding_format="base64")
    found = np.frombuffer(base64.b64decode(tags["data"][0]["data"]), "<f4").reshape(-1, 3)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "names", [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"),
              ("data_1", "data_2")],
)  # fmt: skip
def test_a_cross_encoder_reads_pairs_in_every_spelling(
    ask: Any, folders: dict[str, Path], names: tuple[str, str]
):
    first, second = names
    answer = ask("/v1/score", "reranker", **{first: "a cat", second: TEXTS})
    for item, text in zip(answer["data"], TEXTS, strict=True):
        expected = logits(folders["reranker"], "a cat", text).sigmoid()[0].item()
        assert item["score"] == pytest.approx(expected, abs=1e-4)


def test_scores_come_in_pairs_or_from_one_query(ask: Any):
    many = ask("/score", "reranker", queries=TEXTS, documents=TEXTS[::-1])["data"]
    each = [
        ask("/score", "reranker", queries=a, documents=b)["data"][0]["score"]
        for a, b in zip(TEXTS, TEXTS[::-1], strict=True)
    ]
    assert [item["score"] for item in many] == each


def test_a_bi_encoder_scores_by_cosine(ask: Any):
    query, *texts = vectors(ask("/v1/embeddings", "embedder", input=["a dog", *TEXTS]))
    answer = ask("/score", "embedder", queries="a dog", documents=TEXTS)
    found = [item["score"] for item in answer["data"]]
    np.testing.assert_allclose(found, [query @ text for text in texts], atol=1e-5)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_reranking_sorts_and_keeps_the_index(ask: Any, path: str):
    scores = ask("/score", "reranker", queries="a cat", documents=TEXTS)["data"]
    best = sorted(scores, key=lambda item: -item["score"])[:2]
    body = {"query": "a cat", "documents": [TEXTS[0], {"text": TEXTS[1]}, TEXTS[2]], "top_n": 2}
    results = ask(path, "reranker", **body)["results"]
    assert [r["relevance_score"] for r in results] == [item["score"] for item in best]
    assert [r["document"]["text"] for r in results] == [TEXTS[item["index"]] for item in best]


def test_rerank_bounds_the_tokens_of_each_side(ask: Any):
    long = "cat " * 30
    cut = ask("/rerank", "reranker", query=long, documents=[long], max_tokens_per_query=4,
              max_tokens_per_doc=5)  # fmt: skip
    assert cut["usage"]["prompt_tokens"] == 4 + 5 + 3


def test_a_long_text_is_refused_or_cut(ask: Any, refused: Any):
    error = refused("/v1/embeddings", "embedder", input=["the", "cat " * 200])
    assert error["code"] == "context_length_exceeded"
    assert "Entry 1" in error["message"]
    cut = ask("/v1/embeddings", "embedder", input="cat " * 200, truncate_prompt_tokens=-1)
    assert cut["usage"]["prompt_tokens"] == 96
    short = ask("/v1/embeddings", "embedder", input="the cat is", truncate_prompt_tokens=4)
    exact = ask("/v1/embeddings", "embedder", input="the cat")
    assert vectors(short).tobytes() == vectors(exact).tobytes()


@pytest.mark.parametrize(
    ("path", "model", "body", "param"),
    [
        ("/v1/embeddings", "tiny", {"input": "a"}, "model"),
        ("/v1/embeddings", "classifier", {"input": "a"}, "model"),
        ("/classify", "embedder", {"input": "a"}, "model"),
        ("/score", "classifier", {"queries": "a", "documents": "b"}, "model"),
        ("/pooling", "embedder", {"input": "a", "task": "classify"}, "model"),
        ("/pooling", "embedder", {"input": "a", "task": "dance"}, "task"),
        ("/v1/completions", "embedder", {"prompt": "a"}, "model"),
        ("/v1/embeddings", "embedder", {}, "input"),
        ("/v1/embeddings", "embedder", {"input": []}, "input"),
        ("/v1/embeddings", "embedder", {"input": [[1], "a"]}, "input"),
        ("/v1/embeddings", "embedder", {"input": [[]]}, "input"),
        ("/v1/embeddings", "embedder", {"input": [1, 160]}, "input"),
        ("/v1/embeddings", "embedder", {"input": ["a"] * 2049}, "input"),
        ("/v1/embeddings", "embedder", {"input": "a", "messages": []}, "input"),
        ("/v1/embeddings", "embedder", {"input": "a", "dimensions": 65}, "dimensions"),
        ("/v1/embeddings", "embedder", {"input": "a", "dimensions": True}, "dimensions"),
        ("/pooling", "tagger", {"input": "a", "dimensions": 2}, "dimensions"),
        ("/v1/embeddings", "embedder", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", "embedder", {"input": "a", "priority": 1}, "priority"),
        (
            "/v1/embeddings", "embedder", {"input": "a", "truncate_prompt_tokens": 0},
            "truncate_prompt_tokens",
        ),
        ("/score", "reranker", {"queries": ["a", "b"], "documents": ["a"] * 3}, "queries"),
        ("/score", "reranker", {"queries": "a", "text_2": "b"}, "queries"),
        ("/rerank", "reranker", {"query": "a", "documents": []}, "documents"),
        ("/rerank", "reranker", {"query": "a", "documents": ["b"] * 1001}, "documents"),
        ("/rerank", "reranker", {"query": "a", "documents": [{"title": "b"}]}, "documents"),
        ("/rerank", "reranker", {"query": ["a"], "documents": ["b"]}, "query"),
        ("/rerank", "embedder", {"query": "cat " * 200, "documents": ["b"]}, "query"),
        ("/rerank", "embedder", {"query": "a", "documents": ["cat " * 200]}, "documents"),
        ("/score", "embedder", {"text_1": "cat " * 200, "text_2": "b"}, "text_1"),
        ("/score", "embedder", {"text_1": ["a", "b"], "text_2": ["c"]}, "text_1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(
    refused: Any, path: str, model: str, body: dict[str, Any], param: str
):
    assert refused(path, model, **body)["param"] == param


def test_messages_need_a_chat_template(refused: Any):
    error = refused("/pooling", "tagger", messages=TALK)
    assert "chat template" in error["message"]


def test_a_request_is_one_row_of_usage_with_prompt_tokens_only(stack: Stack, ask: Any):
    with redis.Redis.from_url(stack.redis_url) as client:
        before = client.xlen(redis_keys.USAGE)
        tokens = ask("/v1/embeddings", "embedder", input=TEXTS)["usage"]["prompt_tokens"]
        rows = client.xrange(redis_keys.USAGE)[before:]
    (event,) = [unpack(UsageEvent, fields[b"e"]) for _, fields in rows]
    assert (event.counts.prompt_tokens, event.counts.completion_tokens) == (tokens, 0)
    assert (event.finish, event.bill["route"]) == (Finish.STOP, "/v1/embeddings")


def test_heartbeats_say_what_a_model_is_for(stack: Stack, folders: dict[str, Path]):
    with redis.Redis.from_url(stack.redis_url) as client:
        found = client.mget([redis_keys.engine_beat(f"pooler-{name}") for name in folders])
    tasks = [unpack(EngineBeat, data).task for data in found]
    assert tasks == ["embed", "classify", "classify", "token_classify"]


FIELDS = [(route, name) for route, (_, rows) in ROUTES.items() for name in rows]


@pytest.mark.parametrize(("route", "name"), FIELDS)
def test_a_field_has_an_effect_or_is_named(http: httpx.Client, route: str, name: str):
    base, rows = ROUTES[route]
    check_row(http, Facts(base["model"]), route, base, name, rows[name])


def test_every_field_of_every_route_has_a_row(http: httpx.Client):
    document = http.get("/openapi.json").json()
    assert ROUTES.keys() == {consumer.route for consumer in POOLING_CONSUMERS}
    for route, (_, rows) in ROUTES.items():
        assert accepted(document, route) == rows.keys(), route


def test_special_tokens_come_to_a_conversation_if_asked(ask: Any):
    plain, added = (
        ask("/v1/embeddings", "embedder", messages=BEGUN, **more)["usage"]["prompt_tokens"]
        for more in ({}, {"add_special_tokens": True})
    )
    assert added == plain + 2


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/embeddings", {"input": "a", "colour": "red"}, "colour"),
        ("/v1/embeddings", {"input": [7], "add_special_tokens": True}, "add_special_tokens"),
        ("/v1/embeddings", {"input": "a", "add_generation_prompt": True}, "add_generation_prompt"),
        ("/pooling", {"input": "a", "chat_template_kwargs": {}}, "chat_template_kwargs"),
        ("/pooling", {"input": "a", "truncation_side": "left"}, "truncation_side"),
        ("/score", {"queries": "a", "documents": "b", "use_activation": True}, "use_activation"),
        ("/rerank", {"query": "a", "documents": "b", "use_activation": False}, "use_activation"),
        (
            "/rerank",
            {"query": "a", "documents": "b", "truncation_side": "left", "max_tokens_per_doc": 4},
            None,
        ),
    ],
)
def test_what_changes_nothing_beside_the_rest_is_named(
    http: httpx.Client, path: str, body: dict[str, Any], named: str | None
):
    reply = http.post(path, json={"model": "embedder", **body})
    assert reply.status_code == 200, reply.text
    assert reply.headers.get("x-pagoda-ignored") == named
