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
        with_chat_fields("CountRequest", CountBody, messages_body.SAME),
        "How many tokens the prompt of a message has.",
    ),
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
ERRORS = {
    "400": "A field is wrong; `param` names it.",
    "401": "No valid API key.",
    "404": "No such route, model or object.",
    "413": "The body is too large.",
    "429": "A limit of the key; `Retry-After` says when to come back.",
    "503": "The service cannot take the request now; `Retry-After` says when to come back.",
}


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
    schemas["Error"] = ERROR
    key = {"type": "http", "scheme": "bearer", "bearerFormat": "pgd_…"}
    components["securitySchemes"] = {"key": key}
    result["security"] = [{"key": []}]
    paths = result["paths"]
    for path, (model, summary) in GENERATION.items():
        operation: dict[str, Any] = {
            "operationId": "post_" + path.strip("/").replace("/", "_"),
            "summary": summary,
        }
        operation |= {"tags": ["v1"], "responses": {"200": {"description": STREAMED}}}
        paths[path] = {"post": operation}
        _set_body(operation, model, schemas)
    for (path, method), model in (BODIES | ADAPTER_BODIES).items():
        _set_body(paths[path][method], model, schemas)
    _set_body(paths["/api/keys"]["post"], KeyIn, schemas)
    _set_body(paths["/api/keys/{public_id}"]["patch"], KeyPatch, schemas)
    rotate = paths["/api/keys/{public_id}/rotate"]["post"]
    _set_body(rotate, RotateIn, schemas)
    rotate["description"] = f"The old key ends after grace_hours (0 to {MAX_GRACE_HOURS})."
    for operations in paths.values():
        for operation in operations.values():
            _set_errors(operation)
    result["paths"] = dict(sorted(paths.items()))
    return result


def _set_body(operation: dict[str, Any], model: type[BaseModel], schemas: dict[str, Any]) -> None:
    schema = model.model_json_schema(ref_template=REF, mode="validation")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    reference = {"$ref": REF.format(model=model.__name__)}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": reference}},
    }


def _set_errors(operation: dict[str, Any]) -> None:
    content = {"application/json": {"schema": {"$ref": REF.format(model="Error")}}}
    for status, description in ERRORS.items():
        operation["responses"].setdefault(status, {"description": description, "content": content})
