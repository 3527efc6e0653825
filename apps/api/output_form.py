"""What an answer must look like: `response_format`, `structured_outputs` and the older guided_*."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from apps.api.schema_types import Schema, Text
from engine.errors import InvalidRequest
from engine.structured.outputs import KINDS, StructuredOutputs

GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")


_NAMES = tuple(f'"{name}"'.encode() for name in (*GUIDED, "response_format", "structured_outputs"))


def asks_for_form(data: bytes) -> bool:
    """Whether a body may hold a schema, an expression or a grammar, told without reading it."""
    return any(name in data for name in _NAMES)


class JsonSchemaFormat(Schema):
    """The schema of `response_format`. It always holds, whatever `strict` says."""

    name: Annotated[str, Field(max_length=256)]
    description: Text | None = None
    schema_: dict[str, Any] | bool | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Schema):
    """`structural_tag` has its parts beside `type`, in the newer form or the older."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    format: dict[str, Any] | None = None
    structures: list[dict[str, Any]] | None = None
    triggers: list[str] | None = None


class StructuredFields(Schema):
    """The field `structured_outputs`: exactly one kind, and options."""

    json_: dict[str, Any] | str | bool | None = Field(default=None, alias="json")
    json_object: bool | None = None
    regex: Text | None = None
    choice: list[Text] | None = None
    grammar: Text | None = None
    structural_tag: dict[str, Any] | Text | None = None
    disable_any_whitespace: bool | None = None
    whitespace_pattern: Annotated[str, Field(max_length=256)] | None = None


class FormFields(Schema):
    """The fields of a body that say what the answer looks like."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredFields | None = None
    guided_json: dict[str, Any] | Text | bool | None = None
    guided_regex: Text | None = None
    guided_choice: list[Text] | None = None
    guided_grammar: Text | None = None
    guided_whitespace_pattern: Annotated[str, Field(max_length=256)] | None = None

    def form(self) -> StructuredOutputs | None:
        """The constraint, if there is one. Raises `InvalidRequest` when there are several."""
        found = [name for name in GUIDED if getattr(self, name) is not None]
        if self.structured_outputs is not None:
            found.append("structured_outputs")
        if self.response_format is not None and self.response_format.type != "text":
            found.append("response_format")
        if len(found) > 1:
            raise InvalidRequest(
                f"'{found[0]}' and '{found[1]}' exclude each other: give one.", param=found[0]
            )
        if self.guided_whitespace_pattern is not None and found != ["guided_json"]:
            raise InvalidRequest(
                "'guided_whitespace_pattern' needs guided_json.", param="guided_whitespace_pattern"
            )
        if not found:
            return None
        return StructuredOutputs(**self._values(found[0]), field=found[0])

    def _values(self, name: str) -> dict[str, Any]:
        if name == "structured_outputs":
            assert self.structured_outputs is not None
            values = self.structured_outputs.model_dump(exclude_none=True, by_alias=True)
            return {key: values[key] for key in values if key in KINDS or "whitespace" in key}
        if name == "response_format":
            assert self.response_format is not None
            return _of_format(self.response_format)
        pattern = {"whitespace_pattern": self.guided_whitespace_pattern}
        return {name.removeprefix("guided_"): getattr(self, name)} | (
            pattern if name == "guided_json" else {}
        )


def _of_format(asked: ResponseFormat) -> dict[str, Any]:
    if asked.type == "json_object":
        return {"json_object": True}
    if asked.type == "structural_tag":
        return {"structural_tag": asked.model_dump(exclude_none=True)}
    if asked.json_schema is None or asked.json_schema.schema_ is None:
        raise InvalidRequest(
            "'response_format' of type json_schema needs json_schema: {name, schema}.",
            param="response_format",
        )
    return {"json": asked.json_schema.schema_}
