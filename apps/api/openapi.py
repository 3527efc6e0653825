"""The OpenAPI document: DRF's routes, and the generation routes from their pydantic models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from pydantic import BaseModel, create_model

from apps.api import messages_body, responses_body
from apps.api.messages_body import CountBody, MessagesBody
from apps.api.pooling_bodies import (
    ClassifyBody,
    EmbeddingBody,
    PoolBody,
    RerankBody,
    ScoreBody,
)
from apps.api.responses_body import ResponsesBody
from apps.api.schema_types import Schema
from apps.api.schemas import ChatBody, CompletionBody
from apps.api.services import MAX_GRACE_HOURS
from apps.api.token_bodies import DetokenizeBody, TokenizeBody

REF = "#/components/schemas/{model}"
STREAMED = "A JSON object; with stream: true, server-sent events that end with [DONE]."


def with_chat_fields(name: str, own: type[Schema], shared: Iterable[str]) -> type[BaseModel]:
    """The body of an API that hands some of its fields to the chat as they are."""
    fields: dict[str, Any] = {
        field: (ChatBody.model_fields[field].annotation, ChatBody.model_fields[field])
        for field in shared
        if field not in own.model_fields
    }
    return create_model(name, __base__=own, **fields)


GENERATION: dict[str, tuple[type[BaseModel], str]] = {
    "/v1/completions": (CompletionBody, "Continue one or several prompts."),
    "/v1/chat/completions": (ChatBody, "Answer a conversation."),
    "/v1/responses": (
        with_chat_fields("ResponsesRequest", ResponsesBody, responses_body.SAME),
        "Answer a conversation, told as output items.",
    ),
    "/v1/messages": (
        with_chat_fields("MessagesRequest", MessagesBody, messages_body.SAME),
        "Answer a conversation in Anthropic's form.",
    ),
    "/v1/messages/count_tokens": (
        with_chat_fields("CountRequest", CountBody, messages_body.COUNT_SAME),
        "How many tokens the prompt of a message has.",
    ),
    "/v1/embeddings": (EmbeddingBody, "Texts as vectors."),
    "/pooling": (PoolBody, "What a pooling model makes of texts, as it is."),
    "/classify": (ClassifyBody, "A label for each text."),
    "/score": (ScoreBody, "How well pairs of texts fit."),
    "/v1/score": (ScoreBody, "How well pairs of texts fit."),
    "/rerank": (RerankBody, "Documents by how well they fit a query."),
    "/v1/rerank": (RerankBody, "Documents by how well they fit a query."),
    "/v2/rerank": (RerankBody, "Documents by how well they fit a query."),
}
BODIES: dict[tuple[str, str], type[BaseModel]] = {
    ("/tokenize", "post"): TokenizeBody,
    ("/detokenize", "post"): DetokenizeBody,
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
MESSAGES_ERROR = {  # Anthropic's form
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
    },
}
ERRORS = {
    "400": "A field is wrong; `param` names it.",
    "401": "No valid API key.",
    "403": "The key lacks the scope of this route.",
    "404": "No such route, model or object.",
    "405": "The route has no such method; `Allow` names those it has.",
    "413": "The body is too large.",
    "429": "A limit of the key; `Retry-After` says when to come back.",
    "503": "The service cannot take the request now; `Retry-After` says when to come back.",
}


OTHER_SUCCESS = {  # where it is not 200
    ("/api/keys", "post"): ("201",),
    ("/api/keys/{public_id}/rotate", "post"): ("201",),
    ("/api/adapters", "post"): ("201", "202"),
    ("/api/adapters/{name}", "delete"): ("200",),
    ("/api/adapters/{name}/{action}", "post"): ("200", "202"),
}
TEXT_ANSWERS = (("/v1/load_lora_adapter", "post"), ("/v1/unload_lora_adapter", "post"))
PUBLIC = ("/version",)


class ViewSchema(AutoSchema):
    """Views here answer plain JSON objects; bodies come from pydantic models in the hook."""

    def get_operation_id(self) -> str:
        words = re.findall(r"\w+", self.path)
        return "_".join([self.method.lower(), *words])

    def get_auth(self) -> list[dict[str, Any]]:
        return []  # one scheme for the whole document: see the hook

    def get_request_serializer(self) -> Any:
        return None

    def get_response_serializers(self) -> Any:
        return OpenApiTypes.OBJECT


def add_schemas(result: dict[str, Any], **_options: Any) -> dict[str, Any]:
    """drf-spectacular's post-processing hook."""
    from apps.api.management_views import KeyIn, KeyPatch, RotateIn
    from apps.lora.views import BODIES as ADAPTER_BODIES

    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Error"], schemas["MessagesError"] = ERROR, MESSAGES_ERROR
    key = {"type": "http", "scheme": "bearer", "bearerFormat": "pgd_…"}
    components["securitySchemes"] = {"key": key}
    result["security"] = [{"key": []}]
    paths = result["paths"]
    for path, (model, summary) in GENERATION.items():
        operation: dict[str, Any] = {
            "operationId": "post_" + path.strip("/").replace("/", "_"),
            "summary": summary,
        }
        answer = STREAMED if "stream" in model.model_fields else "A JSON object."
        operation |= {"tags": ["v1"], "responses": {"200": {"description": answer}}}
        paths[path] = {"post": operation}
        _set_body(operation, model, schemas)
    for (path, method), model in (BODIES | ADAPTER_BODIES).items():
        _set_body(paths[path][method], model, schemas)
    _set_body(paths["/api/keys"]["post"], KeyIn, schemas)
    _set_body(paths["/api/keys/{public_id}"]["patch"], KeyPatch, schemas)
    rotate = paths["/api/keys/{public_id}/rotate"]["post"]
    _set_body(rotate, RotateIn, schemas)
    rotate["description"] = f"The old key ends after grace_hours (0 to {MAX_GRACE_HOURS})."
    for path, operations in paths.items():
        for method, operation in operations.items():
            _set_success(operation, path, method)
            _set_errors(operation, "MessagesError" if path.startswith("/v1/messages") else "Error")
            if path in PUBLIC:
                operation["security"] = []
    result["paths"] = dict(sorted(paths.items()))
    return result


def _set_body(operation: dict[str, Any], model: type[BaseModel], schemas: dict[str, Any]) -> None:
    schema = model.model_json_schema(ref_template=REF, mode="validation")
    schemas.update(schema.pop("$defs", {}))
    _allow_null(schema)
    schemas[model.__name__] = schema
    reference = {"$ref": REF.format(model=model.__name__)}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": reference}},
    }


def _allow_null(schema: dict[str, Any]) -> None:
    """Null is "not given" for every field that may be left out."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        if name not in required and {"type": "null"} not in field.get("anyOf", ()):
            schema["properties"][name] = {"anyOf": [field, {"type": "null"}]}


def _set_success(operation: dict[str, Any], path: str, method: str) -> None:
    responses = operation["responses"]
    if statuses := OTHER_SUCCESS.get((path, method)):
        usual = responses.pop(next(iter(responses)))
        responses.update(dict.fromkeys(statuses, usual))
    if (path, method) in TEXT_ANSWERS:
        responses["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}


def _set_errors(operation: dict[str, Any], model: str) -> None:
    content = {"application/json": {"schema": {"$ref": REF.format(model=model)}}}
    for status, description in ERRORS.items():
        operation["responses"].setdefault(status, {"description": description, "content": content})
