"""Every field that a route of pooling accepts: rows of `tests.fields`.

A field of a route's schema without a row fails `test_pooling.py`.
"""

from __future__ import annotations

from tests.fields import Changes, Fields, Ignored, ShownBy, changes

Row = Changes | Ignored | ShownBy

TALK = [{"role": "user", "content": "the cat"}]
BEGUN = [*TALK, {"role": "assistant", "content": "is a dog"}]
DOCUMENTS = ["the dog of paris", "a cat is a cat"]
OTHERS = ["the dog of paris", "france"]

SHARED: dict[str, Row] = {
    "model": changes("nobody"),
    "user": Ignored("somebody"),
    "request_id": changes("mine"),
    "priority": changes(1),
    "truncate_prompt_tokens": changes(4),
    "truncation_side": changes("left", truncate_prompt_tokens=4),
    "use_activation": changes(False),
}
INPUT = SHARED | {
    "input": changes("the dog"),
    "messages": changes(TALK, input=None, messages=BEGUN),
    "add_special_tokens": changes(False),
    "add_generation_prompt": changes(True, input=None, messages=TALK),
    "continue_final_message": changes(True, input=None, messages=BEGUN),
    "chat_template_kwargs": changes({"place": "paris"}, input=None, messages=TALK),
}
EMBEDDINGS = INPUT | {"encoding_format": changes("base64"), "dimensions": changes(16)}
BOUNDS: dict[str, Row] = {
    "max_tokens_per_query": changes(1),
    "max_tokens_per_doc": changes(1),
}
UNNAMED: Fields = {"queries": None, "documents": None}
SCORE = SHARED | BOUNDS | {
    "queries": changes("a dog"),
    "documents": changes(OTHERS),
    "text_1": changes("a dog", **UNNAMED, text_1="the cat", text_2=DOCUMENTS),
    "text_2": changes(OTHERS, **UNNAMED, text_1="the cat", text_2=DOCUMENTS),
    "items": changes(OTHERS, documents=None, items=DOCUMENTS),
    "data_1": changes("a dog", **UNNAMED, data_1="the cat", data_2=DOCUMENTS),
    "data_2": changes(OTHERS, **UNNAMED, data_1="the cat", data_2=DOCUMENTS),
}  # fmt: skip
RERANK = SHARED | BOUNDS | {
    "query": changes("a dog"),
    "documents": changes(OTHERS),
    "top_n": changes(1),
    "return_documents": changes(False),
}  # fmt: skip

EMBEDDED: Fields = {"model": "embedder", "input": "the cat is of paris"}
SCORED: Fields = {"model": "reranker", "queries": "the cat", "documents": DOCUMENTS}
RANKED: Fields = {"model": "reranker", "query": "the cat", "documents": DOCUMENTS}
ROUTES: dict[str, tuple[Fields, dict[str, Row]]] = {
    "/v1/embeddings": (EMBEDDED, EMBEDDINGS),
    "/pooling": (EMBEDDED, EMBEDDINGS | {"task": changes("token_embed")}),
    "/classify": (EMBEDDED | {"model": "classifier"}, INPUT),
    "/score": (SCORED, SCORE),
    "/v1/score": (SCORED, SCORE),
    "/rerank": (RANKED, RERANK),
    "/v1/rerank": (RANKED, RERANK),
    "/v2/rerank": (RANKED, RERANK),
}
